"""Data construction: question sets -> chains of a teacher -> cleaned, exported, traceable conversations.

At the top is what a person calls, as `python -m src_data.X`: `run` builds training data (`ray_job` does so on
several nodes), `finish` cleans and exports a run again, `imports` brings in chains made elsewhere, `view`
shows chains, `corpus_from` makes a corpus of the passages that questions came with. Their settings are in
`config` or on their first page. The rooms do the work, in this order: `readers`, `mixing`, `planners`,
`teachers`, `making`, `cleaning`, `exporting`; `importing` and `viewing` stand beside them. No room imports
what is at the top, `config` apart.
"""
