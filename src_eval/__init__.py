"""Metrics, judge, statistics, tables and pages, read from what runs left on disk."""
