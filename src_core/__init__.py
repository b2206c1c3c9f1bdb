"""What every package uses: types, actions, configuration, storage, the LLM client, errors."""
