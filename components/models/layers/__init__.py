"""Networks as lists of layers: the layers' settings, and the arithmetic of their shapes."""
