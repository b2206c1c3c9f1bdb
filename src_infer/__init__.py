"""The loop: RAG engine, episode, one module per method, runner."""
