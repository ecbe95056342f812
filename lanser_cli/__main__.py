"""`python -m lanser_cli` is `lanser`."""

import sys

from lanser_cli.app import main

if __name__ == "__main__":
    sys.exit(main())
