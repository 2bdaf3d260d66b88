"""`python -m pipeline.commands` is the command `mirante`."""

from mirante_command import main

if __name__ == "__main__":
    main()
