"""Descriptor stores: shards of list rows in Parquet or HDF5, written whole, read in any order."""
