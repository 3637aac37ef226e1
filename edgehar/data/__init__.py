"""Recordings in, windows out, people apart; the corpora are in `datasets`."""
