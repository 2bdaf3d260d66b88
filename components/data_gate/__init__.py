"""DataGate: stops a run whose data would train a bad model, and says why."""
