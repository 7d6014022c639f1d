"""Reading records from partitions and from the whole log."""
