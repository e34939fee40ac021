"""Engines: one image by OpenVINO in 16 or 8 bits against PyTorch in float32."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.harness import Benchmark, Case
from benchmarks.networks import as_shipped, random_spikes, trained, wgse_image
from spikerec.inference.ready import Precision, ready
from spikerec.inference.rearrangement import optimised

SIZES = {"full": (250, 400), "quick": (128, 200), "tiny": (17, 23)}


#: Networks that ship: name, title, precision, goal, and the largest difference of a pixel, of
#: random spikes, which no range was measured for.
IN_FEWER_BITS: tuple[tuple[str, str, Precision, float, float], ...] = (
    ("fast", "Fast", "bf16", 2.5, 2e-2),
    ("fast", "Fast", "int8", 2.5, 5e-2),
    ("fast_wide", "Fast (wide)", "bf16", 2, 2e-2),
    ("fast_wide", "Fast (wide)", "int8", 4, 5e-2),
)


def image(
    name: str, precision: Precision, *, against_optimised: bool
) -> Callable[[tuple[int, ...], Path], Case]:
    """One image of H × W: by PyTorch, rearranged or plain, and by OpenVINO."""

    def prepare(size: tuple[int, ...], folder: Path) -> Case:
        del folder
        plain = trained(name)
        reference = optimised(plain) if against_optimised else plain
        served = ready(plain, engine="openvino", precision=precision)
        spikes = random_spikes(plain.window, *size)
        bits = spikes.to(served.dtype)

        def by_pytorch() -> object:
            return reference.reconstruct(spikes, 1.0, validate=False).image

        return Case(
            ours=lambda: served.reconstruct(bits, 1.0, validate=False).image,
            reference=by_pytorch if against_optimised else as_shipped(by_pytorch),
            settles=True,
        )

    return prepare


BENCHMARKS = (
    *(
        Benchmark(
            f"{name}_openvino_{precision}",
            f"{title}, one image, OpenVINO {precision}",
            "the rearranged network by PyTorch",
            goal=goal,
            tolerance=tolerance,
            sizes=SIZES,
            prepare=image(name, precision, against_optimised=True),
        )
        for name, title, precision, goal, tolerance in IN_FEWER_BITS
    ),
    *(
        Benchmark(
            f"{name}_openvino_bf16",
            f"{title}, one image, OpenVINO bf16",
            "the plain module by PyTorch, eager float32",
            goal=goal,
            tolerance=5e-2,  # of drawn weights: no trained ones are at hand
            sizes=SIZES,
            prepare=image(name, "bf16", against_optimised=False),
        )
        for name, title, goal in (("stir", "STIR", 3), ("ssir", "SSIR", 4.5))
    ),
    Benchmark(
        "wgse_openvino_bf16",
        "WGSE, one image, OpenVINO bf16",
        "the authors' formulation: a batch of 1-D signals",
        goal=8,
        tolerance=2e-2,
        sizes={"full": (250, 400), "quick": (64, 100), "tiny": (12, 16)},
        prepare=wgse_image(partial(ready, engine="openvino", precision="bf16")),
    ),
)
