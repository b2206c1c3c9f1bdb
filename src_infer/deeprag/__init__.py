"""DeepRAG on prefixes: the roles of one step (`roles`), and who plays them (`players`)."""
