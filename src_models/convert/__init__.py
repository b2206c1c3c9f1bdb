"""Weights in other formats: GGUF to and from the hub's layout, adapters, merging."""
