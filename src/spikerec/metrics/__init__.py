"""Image quality under named protocols, and what a network costs."""

from spikerec.metrics.base import ImageMetric
from spikerec.metrics.brisque import BRISQUE
from spikerec.metrics.lpips import LPIPS
from spikerec.metrics.niqe import NIQE
from spikerec.metrics.protocol import Protocol
from spikerec.metrics.psnr import PSNR
from spikerec.metrics.ssim import SSIM

__all__ = ["BRISQUE", "LPIPS", "NIQE", "PSNR", "SSIM", "ImageMetric", "Protocol"]
