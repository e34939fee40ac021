"""The table of docs/video_metrics.md."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.figures.measuring import loaded, score, shipped
from benchmarks.figures.pages import table
from spikerec.data import VideoClips
from spikerec.models.base import default_label

CLIPS = 4
#: Images of a clip, and of the clips in which static pixels are estimated.
IMAGES, MORE_IMAGES = 12, 24

#: Metric → heading and decimals.
COLUMNS = {
    "psnr": ("PSNR (dB)", 2),
    "flicker": ("flicker", 2),
    "warping_error": ("warping error", 2),
    "tlpips": ("tLPIPS", 4),
    "flicker_estimated": ("flicker, estimated", 2),
    "warping_error_estimated": ("warping error, estimated", 2),
}
ESTIMATED = "flicker_estimated"


def measured() -> str:
    """Metrics of videos of the fixed filters and the networks that ship."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        short, long = (
            VideoClips(Path(folder) / str(count), scenes={"test": CLIPS}, images_per_scene=count)
            for count in (IMAGES, MORE_IMAGES)
        )
        for name in ("tfi", "tfp", "hann", *reversed(shipped())):
            network = loaded(name)
            metrics = [metric for metric in COLUMNS if metric != ESTIMATED]
            means = (
                score(network, short, "video", metrics),
                score(network, long, "video", [ESTIMATED]),
            )
            cells = []
            for metric, (_, digits) in COLUMNS.items():
                mean = means[metric == ESTIMATED].mean(metric)
                cells.append("–" if mean is None else f"{mean:.{digits}f}")
            label = default_label(network, name)
            label = f"{label} ({network.window})" if name == "hann" else label
            rows.append([label, *cells])
    return table(["Method", *(heading for heading, _ in COLUMNS.values())], rows)
