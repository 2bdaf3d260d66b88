"""Recipes: fields, rules between them, reading, messages, and the page of all keys."""
