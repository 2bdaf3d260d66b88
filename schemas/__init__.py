"""The data contract: feature names, splits and the curated schema. Imports no TensorFlow."""
