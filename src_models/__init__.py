"""Where weights come from (catalogue, fetching, conversion) and the embedded LLM server for machines without
a GPU.
"""
