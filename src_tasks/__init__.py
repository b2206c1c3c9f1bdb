"""What is asked and what is right: readers of question sets, answer normalisation, metrics, the LLM judge."""
