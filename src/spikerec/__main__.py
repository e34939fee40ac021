"""The command line, run as `python -m spikerec`."""

from spikerec.start import spikerec

if __name__ == "__main__":
    spikerec()
