"""Decides which chains become training data, and counts them: `judge` looks at one chain (its structure, its
answer, whether an observation supports that, control tokens), `clean_run` at a whole run, `yields` makes the
table; `answer_rules` and the two modules below it say when an answer agrees with the gold ones.
"""
