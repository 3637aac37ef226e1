"""Samples in, decisions out, of one wearer or of many; where they come from and go to in `sources` and `sinks`."""
