"""Runs that are over: the list of them, and two or more side by side."""
