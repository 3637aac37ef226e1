"""Stands in for pycuda; see tests/strict."""
