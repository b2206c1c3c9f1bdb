"""Constructs the missing trajectories of a run: the teacher, the RAG engine and the limits (`build`) run the
episode of inference (`construct`), in one process or in shards for several processes (`shard_maker`,
`shards`).
"""
