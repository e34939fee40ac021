from .clips import Clip, LiveSet, MadeSet, SpikeSet
from .folds import FoldedSet, Folds, make_folds, read_folds, write_folds
from .module import SpikeDataModule
from .photos import CameraChoice, LivePhotos, Photos
from .real import Real
from .recvidar import RecVidar
from .reds import REDS
from .robustness import Robustness
from .samples import fetch_reds_samples
from .sreds import SREDS
from .still import Still
from .synthetic import Synthetic
from .uhsr import UHSR
from .video import VideoClips
from .windows import Crop, Windows, decode

__all__ = [
    "REDS",
    "SREDS",
    "UHSR",
    "CameraChoice",
    "Clip",
    "Crop",
    "FoldedSet",
    "Folds",
    "LivePhotos",
    "LiveSet",
    "MadeSet",
    "Photos",
    "Real",
    "RecVidar",
    "Robustness",
    "SpikeDataModule",
    "SpikeSet",
    "Still",
    "Synthetic",
    "VideoClips",
    "Windows",
    "decode",
    "fetch_reds_samples",
    "make_folds",
    "read_folds",
    "write_folds",
]
