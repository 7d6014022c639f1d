"""The bytes of the rows that are not batches."""
