"""Converts trajectories from other sources: their notation is parsed into steps, their golds are looked up,
and each row becomes a trajectory (`chains`).
"""
