"""Cleaning: deleting what the retention of topics no longer keeps, in slices that hold up no writer."""
