"""Evaluation: scores, judge runs, statistics, tables and pages, computed from run directories."""
