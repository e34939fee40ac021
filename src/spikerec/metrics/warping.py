"""Warping error: how much a reconstruction changes from image to image along the motion."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikerec.extras import require
from spikerec.kinds import checked
from spikerec.metrics.pairs import Pair, PairMetric, mean_over
from spikerec.simulation.flow import along
from spikerec.spikes.grey import grey_levels

#: Share of an image's pixels that must be found again for the error to be stated.
LEAST_SHARE = 0.1
#: Least height and width of an image: the dense inverse search takes patches of 8 pixels at half
#: size.
SMALLEST = 16
#: Pixels at each border whose cubic interpolation would need what lies outside of the image.
BORDER = 2


@checked
class WarpingError(PairMetric):
    """Mean absolute change along the motion, in grey levels of 255.

    Warping error of x_t and x_(t+1) = 255 · mean over p of |x_(t+1)(p + f(p)) − x_t(p)|, where f is
    the motion from t to t + 1, x_(t+1) is read between its pixels by cubic interpolation, and the
    mean is over the pixels p that are found again: neither covered nor uncovered, not within two
    pixels of an outline or of the image's border. The motion is the same for all methods.

    For a motion of whole pixels it is 0 for the true images. Between pixels, interpolation itself
    errs on fine texture: by about 1 level for the true images of `data=synthetic`, and less for a
    blurred video. Like flicker it is low for a blurred video: read it beside a metric of fidelity.

    Args:
        flow: `exact`: the simulator's, for sets whose scenes are known. `estimated`: OpenCV's dense
            inverse search (Kroeger et al., ECCV 2016) between images of Hann's window of 61
            readouts, in both directions; pixels at which these disagree and those at borders of
            motion are left out by the conditions of Sundaram et al. (ECCV 2010).

    Raises:
        MissingPackageError: an estimated flow without the package OpenCV.

    Source: Lai et al., ECCV 2018, who take the mean square.
    """

    name = "warping_error"
    unit = "levels"
    undefined = "clips whose exact motion is not known, or of which too little is seen twice"
    needs_target = False
    smallest = SMALLEST

    def __init__(self, flow: Literal["exact", "estimated"] = "exact") -> None:
        super().__init__()
        if flow == "estimated":
            require("cv2", "the estimated flow of warping_error")
        self.flow = flow

    def measure(self, pair: Pair) -> Tensor:
        """See `PairMetric.score`."""
        known = pair.known
        flow, is_kept = known.displacement, known.is_kept
        if self.flow == "estimated":
            flow, is_kept = estimated_flow(known.steady)
        if flow is None or is_kept is None:
            return mean_over(pair.images[0, 0], None, LEAST_SHARE)
        change = along(pair.images[1], flow, "bicubic")[0] - pair.images[0, 0]
        return mean_over(change, is_kept & _is_inside(flow), LEAST_SHARE)


def _is_inside(flow: Tensor) -> Tensor:
    """The pixels (H, W) whose displaced place lies `BORDER` pixels inside the image."""
    height, width = flow.shape[:2]
    rows = torch.arange(height, device=flow.device)[:, None] + flow[..., 1]
    columns = torch.arange(width, device=flow.device) + flow[..., 0]
    is_within_rows = (rows >= BORDER) & (rows <= height - 1 - BORDER)
    return is_within_rows & (columns >= BORDER) & (columns <= width - 1 - BORDER)


def estimated_flow(images: Tensor) -> tuple[Tensor, Tensor]:
    """Estimate the motion between two images.

    Args:
        images: (2, 1, H, W) in [0, 1].

    Returns:
        The flow (H, W, 2) in pixels, right and down, and where it may be trusted (H, W).
    """
    first, second = (grey_levels(image[0].float().cpu().numpy()) for image in images)
    forward, backward = (
        torch.from_numpy(_dense_flow(*pair)) for pair in ((first, second), (second, first))
    )
    returned = along(backward.permute(2, 0, 1), forward).permute(1, 2, 0)
    squares = forward.square().sum(-1) + returned.square().sum(-1)
    disagrees = (forward + returned).square().sum(-1) > 0.01 * squares + 0.5
    slopes = [slope.square().sum(-1) for slope in torch.gradient(forward, dim=(0, 1))]
    is_outline = slopes[0] + slopes[1] > 0.01 * forward.square().sum(-1) + 0.002
    device = images.device
    return forward.to(device), ~(disagrees | is_outline).to(device)


def _dense_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.zeros((*first.shape, 2), np.float32)
    return search.calc(first, second, flow).astype(np.float32)
