"""`mirante serve`: a server that speaks TensorFlow Serving's REST and gRPC, for machines without Docker."""
