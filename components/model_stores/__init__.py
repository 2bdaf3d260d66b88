"""Stores of pushed models besides folders: GridFS of MongoDB, and the model registry of MLflow."""
