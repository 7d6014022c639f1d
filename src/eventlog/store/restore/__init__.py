"""Making a log of a backup."""
