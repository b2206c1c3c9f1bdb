"""Several question sets become the questions to build data from: sampled by hash, without repetitions,
without what an evaluation file would give away, and with a count of everything that was left out.
"""
