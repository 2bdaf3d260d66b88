"""BulkInference: answers of the new model for any number of images, as files."""
