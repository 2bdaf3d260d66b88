"""What runs, in what order: configuration, recipes, the pipeline, its runners and the command."""
