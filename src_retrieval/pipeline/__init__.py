"""The stages of a search, each on its own thread, and their pipeline."""
