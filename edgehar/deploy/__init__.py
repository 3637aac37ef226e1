"""A bundle, onto a device, kept running, and seen."""
