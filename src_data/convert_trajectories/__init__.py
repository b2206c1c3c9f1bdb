"""Trajectories made elsewhere become chains like our own: their notation is read into steps (`notations`),
their golds are looked up, and each row becomes a trajectory (`chains`).
"""
