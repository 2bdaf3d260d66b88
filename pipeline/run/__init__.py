"""Runs nodes."""
