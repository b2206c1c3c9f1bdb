"""Decides which trajectories become training data. `filter_trajectory` checks one (structure, answer, support
by an observation, control tokens), `filter_run` a whole run, `filter_report` counts the outcomes.
`answer_rules` decides whether an answer agrees with its golds, `src_tasks.support` whether the observations
support it.
"""
