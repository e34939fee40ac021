from .bits import PackedSpikes, pack_bits, unpack_bits
from .comparison import Comparison, Histograms, compare, histograms
from .concatenated import ConcatenatedStream
from .dat import DatStream, DatWriter
from .ends import Ends, mirrored, reflect
from .formats import SAVED_SUFFIXES, SUFFIXES, Source, as_stream, open, save, save_parts
from .geometry import Geometry, Sidecar, read_sidecar, sidecar_path, write_sidecar
from .hdf5 import H5Stream
from .inspection import Inspection, inspect
from .memory import ArrayStream
from .numpy_files import NpyStream, NpzStream
from .plasticity import Plasticity, equalise_histogram, stretch_to_uint8, tfstp
from .representations import isi, nested_means, tfi, tfi_interval, tfp, tfp_sequence
from .stream import SpikeStream, SpikeWindow

__all__ = [
    "SAVED_SUFFIXES",
    "SUFFIXES",
    "ArrayStream",
    "Comparison",
    "ConcatenatedStream",
    "DatStream",
    "DatWriter",
    "Ends",
    "Geometry",
    "H5Stream",
    "Histograms",
    "Inspection",
    "NpyStream",
    "NpzStream",
    "PackedSpikes",
    "Plasticity",
    "Sidecar",
    "Source",
    "SpikeStream",
    "SpikeWindow",
    "as_stream",
    "compare",
    "equalise_histogram",
    "histograms",
    "inspect",
    "isi",
    "mirrored",
    "nested_means",
    "open",
    "pack_bits",
    "read_sidecar",
    "reflect",
    "save",
    "save_parts",
    "sidecar_path",
    "stretch_to_uint8",
    "tfi",
    "tfi_interval",
    "tfp",
    "tfp_sequence",
    "tfstp",
    "unpack_bits",
    "write_sidecar",
]
