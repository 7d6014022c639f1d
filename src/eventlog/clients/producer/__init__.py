"""Producers: records collected into batches and stored in the background."""
