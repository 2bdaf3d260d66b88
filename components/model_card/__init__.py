"""The model card: facts about a pushed model, and what users of it should know."""
