"""spikerec: the experiment platform for spike-camera image reconstruction."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikerec.spikes import open
    from spikerec.streaming import reconstruct
    from spikerec.weights.trained import load

__version__ = "0.1.0"
__all__ = ["__version__", "load", "open", "reconstruct"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (PEP 562)
    """Load what needs PyTorch on first use, so that `spikerec --help` answers at once."""
    if name == "load":
        from spikerec.weights.trained import load

        return load
    if name == "open":
        from spikerec.spikes import open

        return open
    if name == "reconstruct":
        from spikerec.streaming import reconstruct

        return reconstruct
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
