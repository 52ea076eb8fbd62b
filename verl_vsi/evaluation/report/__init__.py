"""Reporting: results, runs and published numbers as tables and pictures."""
