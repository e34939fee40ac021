"""spikerec: the experiment platform for spike-camera image reconstruction."""

__version__ = "0.1.0"
__all__ = ["__version__"]
