from .agreement import Agreement
from .base import ImageMetric
from .brisque import BRISQUE
from .flicker import Flicker
from .lpips import LPIPS
from .niqe import NIQE
from .pairs import PairMetric
from .protocol import Protocol
from .psnr import PSNR
from .pyiqa import PyIQA
from .recognition import Recognition
from .recording import Recording, RecordingMetric
from .refiring import RefiredInterval, RefiredRate
from .ssim import SSIM
from .tlpips import TLPIPS
from .warping import WarpingError

__all__ = [
    "BRISQUE",
    "LPIPS",
    "NIQE",
    "PSNR",
    "SSIM",
    "TLPIPS",
    "Agreement",
    "Flicker",
    "ImageMetric",
    "PairMetric",
    "Protocol",
    "PyIQA",
    "Recognition",
    "Recording",
    "RecordingMetric",
    "RefiredInterval",
    "RefiredRate",
    "WarpingError",
]
