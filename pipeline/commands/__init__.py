"""The commands of `mirante`."""
