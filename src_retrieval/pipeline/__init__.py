"""Stages of a search, each on its own thread, and the pipeline that they make."""
