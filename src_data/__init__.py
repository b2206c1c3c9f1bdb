"""Data construction: question sets -> trajectories of a teacher -> filtered, exported, traceable
conversations.

At the top is what a person calls, as `python -m src_data.X`: `run` builds training data (`ray_job` does so
on several nodes), `postprocess` filters and exports a run again, `convert_trajectories` brings in
trajectories made elsewhere, `view` shows them, `corpus_from` makes a corpus of the passages that questions
came with. Their settings are in `config` or on their first page. The packages do the work, in this order:
`sampling`, `annotated_teacher`, `teachers`, `construction`, `filters`, `exporting`; `convert_trajectories`
and `viewing` stand beside them. No package imports what is at the top, `config` apart.
"""
