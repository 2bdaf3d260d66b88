"""Which versions of which models are served: found on disk, loaded, labelled, drained and unloaded."""
