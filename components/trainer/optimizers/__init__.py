"""Optimisers of a training, with the options of each, and the moving average of the weights."""
