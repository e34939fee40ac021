"""The command line, run as `python -m spikerec`."""

from spikerec.cli import main

if __name__ == "__main__":
    main()
