"""Stands in for pycuda's driver API; see tests/strict."""

from tests.strict.driver import *  # noqa: F403
