"""ExampleValidator is TFX's own; its page is here."""
