"""Nodes on Vertex AI."""
