"""What a record says about its image."""
