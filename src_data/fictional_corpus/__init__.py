"""A corpus about an invented world: people, towns, works and firms whose facts lead on to each other, so that
questions of three hops can be made of it (`src_data.passage_questions`) in any number. What a passage says
is in no model's memory, so an answer has to be read.
"""
