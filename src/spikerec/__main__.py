"""The command line, run as `python -m spikerec`."""

import sys

from spikerec.cli import main

if __name__ == "__main__":
    sys.exit(main())
