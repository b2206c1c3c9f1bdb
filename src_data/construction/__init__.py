"""Makes the chains that a run lacks: the teacher, the RAG engine and the limits (`build`) go through the
episode of inference (`construct`), in one process or in shards that several processes take (`shard_maker`,
`shards`).
"""
