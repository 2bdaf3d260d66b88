"""One version of a model in memory: its session, its signatures, and what can be asked of them."""
