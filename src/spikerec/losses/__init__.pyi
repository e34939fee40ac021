from .base import Loss, Term
from .blind import BlindInterval, BlindMean, BlindPixels, Mutual
from .estimates import SideImages, WindowEstimates
from .firing import FiringRate
from .frequency import FourierL1
from .halves import OtherHalf
from .perceptual import LPIPS, VGGPerceptual
from .pixel import L1, MSE, Charbonnier, LogMSE, MultiScaleL1, SmoothL1
from .structure import SSIM, Edges, MultiScaleSSIM, TotalVariation

__all__ = [
    "L1",
    "LPIPS",
    "MSE",
    "SSIM",
    "BlindInterval",
    "BlindMean",
    "BlindPixels",
    "Charbonnier",
    "Edges",
    "FiringRate",
    "FourierL1",
    "LogMSE",
    "Loss",
    "MultiScaleL1",
    "MultiScaleSSIM",
    "Mutual",
    "OtherHalf",
    "SideImages",
    "SmoothL1",
    "Term",
    "TotalVariation",
    "VGGPerceptual",
    "WindowEstimates",
]
