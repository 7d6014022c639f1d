"""The LMDB environment of a log; the only package that imports `lmdb`."""
