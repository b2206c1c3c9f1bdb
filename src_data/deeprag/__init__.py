"""The two data stages of DeepRAG: explore a tree of each question, then imitate its cheapest right path
(Stage I), or learn its decisions from preference pairs (Stage II).
"""
