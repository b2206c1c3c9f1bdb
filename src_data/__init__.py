"""Data construction: question sets -> trajectories of a teacher -> filtered, exported, traceable
conversations.

The top-level modules are entry points, run as `python -m src_data.X`: `run` builds training data (`ray_job`
does so on several nodes), `postprocess` filters and exports a run again, `convert_trajectories` converts
trajectories from other sources, `view` shows them, `corpus_from` builds a corpus from the passages of
question files. Their settings are in `config` or in the module itself. The packages do the work, in this
order: `sampling`, `annotated_teacher`, `teachers`, `construction`, `filters`, `exporting`;
`convert_trajectories` and `viewing` are separate from this sequence. No package imports a top-level module
except `config`.
"""
