"""Looks at data before any training, and changes nothing."""
