"""What a spike stream is: formats on disk, packed bits, windows, representations.

`spikes.open(path)` gives a lazy `SpikeStream`; `spikes.save` writes one.
"""

from spikerec.spikes.arrays import H5Stream, NpyStream, NpzStream
from spikerec.spikes.bits import PackedSpikes, pack_bits, unpack_bits
from spikerec.spikes.concatenated import ConcatenatedStream
from spikerec.spikes.dat import DatStream, DatWriter
from spikerec.spikes.ends import Ends, mirrored, reflect
from spikerec.spikes.formats import SUFFIXES, open, save, save_parts
from spikerec.spikes.geometry import (
    Geometry,
    Sidecar,
    read_sidecar,
    sidecar_path,
    write_sidecar,
)
from spikerec.spikes.plasticity import (
    Plasticity,
    equalise_histogram,
    stretch_to_uint8,
    tfstp,
)
from spikerec.spikes.representations import (
    isi,
    nested_means,
    tfi,
    tfi_interval,
    tfp,
    tfp_sequence,
)
from spikerec.spikes.stream import SpikeStream

__all__ = [
    "SUFFIXES",
    "ConcatenatedStream",
    "DatStream",
    "DatWriter",
    "Ends",
    "Geometry",
    "H5Stream",
    "NpyStream",
    "NpzStream",
    "PackedSpikes",
    "Plasticity",
    "Sidecar",
    "SpikeStream",
    "equalise_histogram",
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
