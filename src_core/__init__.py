"""The vocabulary that every room speaks: types, actions, configuration, storage, the LLM client, errors."""
