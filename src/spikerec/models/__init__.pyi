from .base import Network, Reconstruction
from .base_net import BaseNet
from .blocks import BlockNetwork, Blocks
from .bsf import BSF
from .etnet import ETNet
from .fast import Fast
from .hann import Hann
from .hypere2vid import HyperE2VID
from .padding import Padding
from .spikeclip import SpikeCLIP
from .spk2imgnet import Spk2ImgNet
from .ssir import SSIR
from .ssml import SSML
from .stir import STIR
from .swinsf import SwinSF
from .tfi import TFI
from .tfp import TFP
from .tfstp import TFSTP
from .wgse import WGSE

__all__ = [
    "BSF",
    "SSIR",
    "SSML",
    "STIR",
    "TFI",
    "TFP",
    "TFSTP",
    "WGSE",
    "BaseNet",
    "BlockNetwork",
    "Blocks",
    "ETNet",
    "Fast",
    "Hann",
    "HyperE2VID",
    "Network",
    "Padding",
    "Reconstruction",
    "SpikeCLIP",
    "Spk2ImgNet",
    "SwinSF",
]
