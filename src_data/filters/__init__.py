"""Decides which trajectories become training data. `filter_trajectory` checks one (structure, answer,
support by an observation, control tokens), `filter_run` a whole run, `filter_report` counts the outcomes.
`answer_rules`, `answer_tokens` and `support` say when an answer agrees with its golds and with what was
observed.
"""
