"""Reinforcement learning: rollouts, rewards, advantages, updates, new weights to the server, and again."""
