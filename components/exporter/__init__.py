"""Exporter: a pushed model in the formats of other runtimes, each measured against the original."""
