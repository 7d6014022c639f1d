"""The LMDB environment: the only room that imports `lmdb`."""
