"""Resolver: finds the baseline, the model that is served."""
