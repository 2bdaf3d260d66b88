"""The data of a run: ingested, or brought along."""
