"""A recipe: its fields, how it is read, and its messages."""
