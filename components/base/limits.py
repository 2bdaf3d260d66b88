"""Limits of the size of an image. Imports nothing, since the command line reads it first."""

# A decompression bomb is a small file with an image that fills the memory: a PNG of a few hundred kilobytes
# can have 50,000 x 50,000 pixels, which are 7.5 GB. 100 million pixels (300 MB as RGB) are enough for the
# largest cameras, and fit into memory next to the other workers.
DEFAULT_MAX_PIXELS = 100_000_000

# Pillow never opens a larger image: this is twice its own MAX_IMAGE_PIXELS.
PILLOW_MAX_PIXELS = 178_956_970
