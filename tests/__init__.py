"""Tests of edgehar; `tests.linear` is a model small enough to reason about."""
