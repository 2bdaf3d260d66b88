"""Helpers of several test modules: what they make, and how they start commands."""
