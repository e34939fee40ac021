from .base import ImageMetric
from .brisque import BRISQUE
from .lpips import LPIPS
from .niqe import NIQE
from .protocol import Protocol
from .psnr import PSNR
from .ssim import SSIM

__all__ = [
    "BRISQUE",
    "LPIPS",
    "NIQE",
    "PSNR",
    "SSIM",
    "ImageMetric",
    "Protocol",
]
