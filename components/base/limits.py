"""How large an image may be. Imports nothing: the command line reads it before anything else."""

from __future__ import annotations

# A decompression bomb is a small file that unpacks to a picture which fills the memory: a 50,000 x 50,000 PNG
# is 7.5 GB of pixels in a few hundred kilobytes. 100 million pixels (300 MB as RGB) lets through what the
# largest cameras make in one shot and still fits beside the other workers.
DEFAULT_MAX_PIXELS = 100_000_000

# Pillow refuses to open anything larger whatever is asked for: twice its own MAX_IMAGE_PIXELS.
PILLOW_MAX_PIXELS = 178_956_970
