from .agreement import Agreement
from .base import ImageMetric
from .brisque import BRISQUE
from .lpips import LPIPS
from .niqe import NIQE
from .protocol import Protocol
from .psnr import PSNR
from .pyiqa import PyIQA
from .recording import Recording, RecordingMetric
from .refiring import RefiredInterval, RefiredRate
from .ssim import SSIM

__all__ = [
    "BRISQUE",
    "LPIPS",
    "NIQE",
    "PSNR",
    "SSIM",
    "Agreement",
    "ImageMetric",
    "Protocol",
    "PyIQA",
    "Recording",
    "RecordingMetric",
    "RefiredInterval",
    "RefiredRate",
]
