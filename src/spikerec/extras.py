"""Optional packages, and the extra of `pip install 'spikerec[EXTRA]'` that installs each."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from spikerec.errors import MissingPackageError

#: Module → extra, as in pyproject.toml. Everything else comes with `pip install spikerec`.
EXTRAS = {
    "av": "video",
    "cv2": "colour",
    "hydra_plugins.hydra_joblib_launcher": "sweeps",
    "hydra_plugins.hydra_submitit_launcher": "sweeps",
    "lpips": "metrics",
    "numba": "fast",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "openvino": "openvino",
    "optuna": "sweeps",
    "pyiqa": "metrics",
}


def require(module: str, purpose: str) -> None:
    """Check that an optional module is installed, without importing it.

    Args:
        module: one of `EXTRAS`.
        purpose: what it is needed for, as the subject of the error: `a video file`.

    Raises:
        MissingPackageError: it is not installed; the message names the extra.
    """
    if not is_installed(module):
        raise MissingPackageError(
            f"{purpose} needs the package {module}, which is not installed: "
            f"pip install '{_distribution()}[{EXTRAS[module]}]'."
        )


def _distribution() -> str:
    """Return `spikerec-run` where that alone is installed (`spikerec.runtime`), else `spikerec`."""
    try:
        distribution("spikerec-run")
        distribution("spikerec")
    except PackageNotFoundError as missing:
        return "spikerec-run" if missing.name == "spikerec" else "spikerec"
    return "spikerec"


def is_installed(module: str) -> bool:
    """Return True if Python finds the module."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a package above it is missing
        return False
