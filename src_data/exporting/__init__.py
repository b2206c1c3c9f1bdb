"""Writes the kept trajectories as training files: conversations in the published schema, split into train and
validation, with a provenance file and with general conversations mixed in.
"""
