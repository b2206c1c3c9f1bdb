"""Model weights (catalogue, download, conversion) and the embedded LLM server for machines without a GPU."""
