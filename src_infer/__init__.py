"""Inference: the RAG engine, the episode loop, one module per method, the runner."""
