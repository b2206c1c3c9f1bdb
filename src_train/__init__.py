"""Training on conversations, preference pairs or rollouts, as token ids with a loss mask."""
