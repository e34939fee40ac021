"""Every kernel gives what its reference gives, whatever it is handed."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import spikerec
from spikerec.errors import ConfigError
from spikerec.kernels import switched
from spikerec.kernels.dispatch import PAIRS, SWITCH, Kernel, may_serve, served_by


def import_everything() -> None:
    for module in pkgutil.walk_packages(spikerec.__path__, "spikerec."):
        importlib.import_module(module.name)


import_everything()

Arguments = tuple[Any, ...]


def changed(arguments: Arguments, change: Callable[[Tensor], Tensor]) -> Arguments:
    """The arguments, of which the first holds the pictures and is changed."""
    return change(arguments[0]), *arguments[1:]


def random(kernel: Kernel[..., Any]) -> Arguments:
    return kernel.example(37, 141)


def one_pixel(kernel: Kernel[..., Any]) -> Arguments:
    return kernel.example(1, 1)


def empty(kernel: Kernel[..., Any]) -> Arguments:
    return changed(kernel.example(5, 7), lambda pictures: pictures[:0])


def strided(kernel: Kernel[..., Any]) -> Arguments:
    return changed(kernel.example(9, 40), lambda pictures: pictures[..., 1:, 3::2])


def not_contiguous(kernel: Kernel[..., Any]) -> Arguments:
    return changed(kernel.example(40, 9), lambda pictures: pictures.transpose(2, 3))


def of_nan(kernel: Kernel[..., Any]) -> Arguments:
    """NaN in a tenth of the first tensor that can hold it."""
    arguments = list(kernel.example(17, 25))
    index = next(i for i, one in enumerate(arguments) if one.is_floating_point())
    arguments[index] = arguments[index].masked_fill(torch.rand(arguments[index].shape) < 0.1, nan)
    return tuple(arguments)


nan = float("nan")
INPUTS = (random, one_pixel, empty, strided, not_contiguous, of_nan)


def test_kernels_are_found() -> None:
    assert len(PAIRS) >= 2


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", PAIRS)
def test_kernel_equals_its_reference(name: str, make: Callable[..., Arguments]) -> None:
    kernel, reference = PAIRS[name]
    arguments = make(kernel)
    before = [one.clone() if isinstance(one, Tensor) else one for one in arguments]
    threads = torch.get_num_threads()
    expected = reference(*arguments)
    for count in (1, 2, 5):
        torch.set_num_threads(count)
        try:
            found = kernel.run(*arguments)
        finally:
            torch.set_num_threads(threads)
        torch.testing.assert_close(
            found, expected, rtol=0, atol=kernel.tolerance, equal_nan=True, check_stride=False
        )
    for one, other in zip(arguments, before, strict=True):  # a kernel changes no argument
        torch.testing.assert_close(one, other, rtol=0, atol=0, equal_nan=True)


def _doubled(x: Tensor) -> Tensor:
    return 2 * x


#: Gives another result than its reference, which tells which of them ran.
TRIPLED = Kernel(lambda x: 3 * x, lambda height, width: (torch.ones(1, 1, height, width),))


@pytest.fixture
def double() -> Any:
    before = dict(PAIRS)
    yield served_by(TRIPLED)(_doubled)
    PAIRS.clear()
    PAIRS.update(before)


def test_a_plain_tensor_is_served(double: Callable[[Tensor], Tensor]) -> None:
    assert double(torch.ones(1)) == 3
    with torch.no_grad():
        assert double(torch.ones(1, requires_grad=True)) == 3


@pytest.mark.parametrize(
    "x",
    [
        torch.ones(1, dtype=torch.float64),
        torch.ones(1, dtype=torch.bfloat16),
        torch.ones(1, requires_grad=True),
        torch.ones(1).as_subclass(type("Other", (Tensor,), {})),
    ],
    ids=["float64", "bfloat16", "gradients", "subclass"],
)
def test_what_is_not_plain_is_left_to_the_reference(
    double: Callable[[Tensor], Tensor], x: Tensor
) -> None:
    assert double(x) == 2


def test_another_device_is_left_to_the_reference() -> None:
    assert not may_serve(torch.ones(1, device="meta"))
    assert not may_serve(torch.ones(1), None, torch.ones(1, device="meta"))


def test_autocast_is_left_to_the_reference(double: Callable[[Tensor], Tensor]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        assert double(torch.ones(1)) == 2


def test_the_switch_holds_within_its_block(
    double: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    with switched(False):
        assert double(torch.ones(1)) == 2
        with switched(True):
            assert double(torch.ones(1)) == 3
        assert double(torch.ones(1)) == 2
    assert double(torch.ones(1)) == 3
    monkeypatch.setenv(SWITCH, "0")
    assert double(torch.ones(1)) == 2
    with switched(True):
        assert double(torch.ones(1)) == 2
    monkeypatch.setenv(SWITCH, "off")
    with pytest.raises(ConfigError, match=r"SPIKEREC_KERNELS must be 0 .* found 'off'"):
        double(torch.ones(1))


def test_a_full_disk_lets_the_reference_run() -> None:
    def fails(x: Tensor) -> Tensor:
        raise OSError(28, f"No space left on device for {x}")

    before = dict(PAIRS)
    double = served_by(Kernel(fails, TRIPLED.example))(_doubled)
    PAIRS.clear()
    PAIRS.update(before)
    assert double(torch.ones(1)) == 2


def test_a_graph_is_made_of_the_reference(double: Callable[[Tensor], Tensor]) -> None:
    class Module(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return double(x)

    exported = torch.export.export(Module(), (torch.ones(1),)).module()
    assert exported(torch.ones(1)) == 2


IMAGE = """
import sys, torch
{before}
from spikerec.kernels import switched
from spikerec.spikes import tfstp
spikes = torch.rand(1, 40, 9, 12, generator=torch.Generator().manual_seed(0)) < 0.3
first, second = (tfstp(spikes, key_readout=39) for _ in range(2))
with switched(False):
    assert torch.equal(tfstp(spikes, key_readout=39), first) and torch.equal(first, second)
print("numba" in sys.modules)
"""


def image_in_a_new_process(before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", IMAGE.format(before=before)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


def test_without_numba_the_reference_runs_and_one_line_says_so() -> None:
    done = image_in_a_new_process("sys.modules['numba'] = None")
    assert done.stderr.count("\n") == 1
    assert "Numba is not installed" in done.stderr
    assert "pip install 'spikerec[fast]'" in done.stderr


def test_where_nothing_can_be_kept_the_reference_runs_and_one_line_says_so(tmp_path: Path) -> None:
    package, source = tmp_path / "spikerec", Path(spikerec.__file__).parent
    package.mkdir()
    for part in source.iterdir():
        if part.name != "kernels":
            (package / part.name).symlink_to(part)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(source / "kernels", package / "kernels", ignore=ignored)
    (package / "kernels" / "__pycache__").touch()  # not even root can make a folder of a file
    (tmp_path / "home").touch()
    home = str(tmp_path / "home")
    done = image_in_a_new_process("", PYTHONPATH=str(tmp_path), HOME=home, XDG_CACHE_HOME=home)
    assert done.stdout.strip() == "True"
    assert done.stderr.count("\n") == 1
    assert "Numba cannot keep compiled code" in done.stderr
    assert "NUMBA_CACHE_DIR" in done.stderr
