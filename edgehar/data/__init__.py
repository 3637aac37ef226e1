"""Recordings in, windows out, each subject in one part of the split; the corpora are in `datasets`."""
