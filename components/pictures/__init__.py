"""Boxes drawn on images, and grids of images."""
