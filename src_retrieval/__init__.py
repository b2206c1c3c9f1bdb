"""Retrieval: corpus, encoders, indexes, the index builder, the Flask server and its client."""
