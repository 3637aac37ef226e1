"""Runs, scores, intervals over people, rows of tables, pages."""
