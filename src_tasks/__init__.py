"""Questions and scores: readers of question sets, answer normalisation, metrics, rewards, the LLM judge."""
