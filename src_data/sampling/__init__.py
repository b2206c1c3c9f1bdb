"""Several question sets become the questions to build data from: sampled by hash, without repetitions,
without questions of the evaluation files, and with a count of all rows that were left out.
"""
