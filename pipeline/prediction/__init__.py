"""Asks a pushed model about images."""
