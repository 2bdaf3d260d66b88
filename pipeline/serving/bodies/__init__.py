"""JSON bodies of the REST API: read as TensorFlow Serving's parser reads them, and written in its layout."""
