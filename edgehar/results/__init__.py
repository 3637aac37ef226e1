"""Runs, scores, intervals over subjects, rows of tables, pages."""
