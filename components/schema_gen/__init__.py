"""ImportSchemaGen: the curated schema."""
