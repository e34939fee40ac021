"""The code and the machine that a figure was computed with."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from spikerec.kernels.processor import processor_name

#: Packages whose version can move a reported figure.
FIGURE_PACKAGES = ("torch", "torchvision", "torchmetrics", "lightning", "lpips", "pyiqa", "numpy")


def environment() -> dict[str, Any]:
    """Facts beside the code that may change a figure: versions, processor, accelerators."""
    import torch

    versions: dict[str, str | None] = {}
    for name in FIGURE_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor_name(),
        "accelerators": devices,
        "threads": torch.get_num_threads(),
        "packages": versions,
    }


def code_revision() -> dict[str, Any]:
    """Version of spikerec, and in a checkout its revision and whether files were changed.

    `revision` and `dirty` are None for an installed package, also one installed inside somebody
    else's repository.
    """
    here = Path(__file__).resolve()
    tracked = _git(here.parent, "ls-files", "--error-unmatch", here.name) is not None
    changes = _git(here.parent, "status", "--porcelain") if tracked else None
    return {
        "version": metadata.version("spikerec"),
        "revision": _git(here.parent, "rev-parse", "HEAD") if tracked else None,
        "dirty": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command; None if git is missing or fails."""
    program = shutil.which("git")
    if program is None:
        return None
    done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
        [program, "-C", str(folder), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else None
