"""`python -m pipeline.commands` is the command `mirante`."""

from pipeline.commands.main import main

if __name__ == "__main__":
    main()
