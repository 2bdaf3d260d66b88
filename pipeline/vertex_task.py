"""The door for compiled jobs: they start `python -m pipeline.vertex_task`."""

import sys

from pipeline.targets.vertex.container import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
