"""Training questions over the passages of a corpus, made by patterns, without a model: sub-questions, their
answers and gold passages are known by construction. `python -m src_data.passage_questions` writes them as a
question file for `data_construct.sh`.
"""
