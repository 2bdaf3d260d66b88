"""Evaluator: metrics on the test split, and the gate before a push."""
