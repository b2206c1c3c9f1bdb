"""Writes what was kept as training files: conversations in the published schema, split into train and
validation, with their provenance beside them and general conversations mixed in.
"""
