"""Training: conversations become token ids with a loss mask, and a model that does the loop."""
