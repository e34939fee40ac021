"""PyTorch's files read without running them.

A `.pth`, `.pt` or `.ckpt` file is a pickle, and a pickle is a program. PyTorch's restricted reader
(`weights_only=True`) rebuilds tensors and refuses everything else, which also refuses files that
authors did publish: whole pickled modules (WGSE) and state dicts beside a pickled config object
(ET-Net, HyperE2VID). `read_pickle` reads those too: each class that the file names and PyTorch does
not know is replaced by a `StandIn`, which keeps the state and runs nothing.
"""

from __future__ import annotations

import pickletools
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from spikerec.errors import DataError, WeightsError
from spikerec.kernels.devices import has_arrays
from spikerec.parsing import open_zip, shown, with_article

#: Modules of the standard library whose classes configs and modules hold. A file that names
#: anything else of the standard library (`os.system`, `builtins.eval`) is refused outright.
HARMLESS_MODULES = {"argparse", "collections", "datetime", "enum", "logging", "pathlib", "types"}

#: Key under which checkpoints of our training runs describe their network.
OWN_KEY = "spikerec"

#: Bounds of a pickle: its instructions (some 25 a tensor), which take 4 µs each.
MOST_INSTRUCTIONS = 500_000

#: Pickles before the numbers in a file from before PyTorch 1.6.
OLD_PICKLES = 5

#: PyTorch's reader lets a file make these of any size; it never writes them itself.
REFUSED_NAMES = {"builtins bytearray", "__builtin__ bytearray"}

#: Tensors that share memory may have this many times the bytes of the file together.
TIMES_THE_FILE = 4


class StandIn:
    """A placeholder for a class that a checkpoint names: keeps its state, runs nothing."""

    state: object = None

    def __new__(cls, *_arguments: object) -> StandIn:
        """Arguments of the pickled call are dropped."""
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        """Arguments of the pickled call are dropped."""

    def __setstate__(self, state: object) -> None:
        self.state = state


def read_pickle(path: Path) -> object:
    """The content of a PyTorch file, with records for the classes that PyTorch does not know."""
    try:
        _check_archive(path)
        _check_instructions(path)
        names = _unknown_classes(path)
        with torch.serialization.safe_globals([(StandIn, name) for name in names]):
            content = torch.load(  # noqa: TID251 - the one place that reads PyTorch's format
                path, map_location="cpu", weights_only=True
            )
    except WeightsError:
        raise
    except DataError as error:
        raise WeightsError(str(error)) from error
    except Exception as error:
        # Damaged or hostile bytes fail wherever they happen to: all of it is one fact to the user.
        raise unreadable(path, error) from error
    if isinstance(content, Mapping) and OWN_KEY in content and has_changed(path):
        raise WeightsError(
            f"{path} is damaged: its bytes are not those that were written. Use a copy of it, or "
            "another checkpoint of the run."
        )
    return content


def has_changed(path: Path) -> bool:
    """True for an archive of which a member is not as its checksum says; PyTorch never looks.

    Only files of our own are held to it: PyTorch lets others be written without checksums.
    """
    if not zipfile.is_zipfile(path):
        return False
    with open_zip(path) as archive:
        return archive.testzip() is not None


def _check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than it holds: PyTorch stores, never compresses.

    Raises:
        WeightsError: it would.
    """
    if zipfile.is_zipfile(path):
        with open_zip(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > path.stat().st_size:
            raise WeightsError(
                f"{path} is compressed, or states more than it holds: expected an archive as "
                "PyTorch writes it. Get it again."
            )


def _unknown_classes(path: Path) -> list[str]:
    """Full names in the file's pickle that PyTorch's restricted reader does not know.

    Empty for files from before PyTorch 1.6, which are no archives: those are read only if they
    hold nothing but tensors.

    Raises:
        WeightsError: a name belongs to the standard library and is not known to be harmless.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return []
    names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    for name in names:
        module = name.split(".")[0]
        if module in sys.stdlib_module_names and module not in HARMLESS_MODULES:
            raise WeightsError(
                f"{path} asks to call {name} on loading, which no weights need: refused, nothing "
                "was run. Get the file again from its authors."
            )
    return names


def _check_instructions(path: Path) -> None:
    """Refuse a pickle that is longer than any weights need, or makes memory of a stated size.

    Raises:
        WeightsError: it is, or does.
    """
    count = 0
    for pickled in _pickles(path):
        for operation, argument, _ in pickletools.genops(pickled):
            count += 1
            if count > MOST_INSTRUCTIONS or (
                operation.name == "GLOBAL" and argument in REFUSED_NAMES
            ):
                raise WeightsError(
                    f"{path} holds more than tensors and a few values beside them: refused. Have "
                    "its state dict saved alone."
                )


def _pickles(path: Path) -> Iterator[IO[bytes]]:
    """The pickles of a PyTorch file, each where it begins."""
    if zipfile.is_zipfile(path):
        with open_zip(path) as archive:
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    with archive.open(name) as member:
                        yield member
        return
    with path.open("rb") as file:
        for _ in range(OLD_PICKLES):
            yield file


def check_memory(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that state more values than the file holds, as those of stride 0 do.

    Raises:
        WeightsError: there is one, or one that is sparse, quantised or has no values.
    """
    held = path.stat().st_size
    storages: dict[int, int] = {}
    total = 0
    for name, tensor in state.items():
        is_plain = (
            tensor.layout == torch.strided
            and has_arrays(tensor)
            and not tensor.is_quantized
            and not tensor.is_nested
        )
        if not is_plain or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"{path} holds a tensor of {tensor.numel():,} values at {shown(name)} that are not "
                "all in the file: expected plain tensors. Save it with every tensor cloned."
            )
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        total += tensor.nbytes
    if sum(storages.values()) > held or total > TIMES_THE_FILE * held:
        raise WeightsError(
            f"{path} states tensors of {total:,} bytes, and has {held:,}: expected all their "
            "values in the file. Save it with every tensor cloned."
        )


def unreadable(path: Path, error: Exception) -> WeightsError:
    """The error of a file that PyTorch or safetensors cannot read, without its content."""
    if "Weights only load failed" in str(error):
        cause = "it holds objects other than tensors, and nothing in it was run"
    else:
        cause = "it is damaged, cut short, or something else"
    return WeightsError(
        f"{path} is not a readable checkpoint: expected .safetensors, or a state dict saved by "
        f"PyTorch; found that {cause}. Get it again, or have its state dict saved alone."
    )


def described(value: object) -> str:
    """A found value for an error, by its kind alone."""
    if isinstance(value, StandIn):
        return "an object of a class that is no module"
    if isinstance(value, Mapping):
        return f"a dict of {len(value)} entries"
    return with_article(type(value).__name__)
