"""A stream of any length has, readout by readout, the images that its windows have one by one."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikerec import spikes
from spikerec.configs import build, config_names
from spikerec.errors import WindowError
from spikerec.models.base import Network
from spikerec.spikes import Ends, SpikeStream
from spikerec.spikes.ends import MIN_READOUTS
from spikerec.streaming import KeyReadouts, make_frames
from tests.fakes import fake_spikes

#: Longest stream that is drawn: longer than most windows (61), with both ends and a middle.
LONGEST = 75
#: Most images of one example: networks take their time.
MOST_IMAGES = 3


@cache
def network_of(name: str) -> Network:
    torch.manual_seed(0)
    network: Network = build("model", name)
    return network.eval()


def plain(stream: SpikeStream, network: Network, key_readout: int, ends: Ends) -> Tensor:
    """The image of one window, (H, W)."""
    first = key_readout - network.key_readout
    window = stream.packed(first, first + network.window, ends=ends).unpack()
    with torch.inference_mode():
        return network.reconstruct(window[None], 0.5).image[0, 0]


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    num_readouts = draw(st.integers(1, LONGEST))
    start = draw(st.integers(0, num_readouts - 1))
    stride = draw(st.integers(1, 30))
    stop = draw(st.integers(start + 1, start + MOST_IMAGES * stride))
    return {
        "num_readouts": num_readouts,
        "ends": draw(st.sampled_from(get_args(Ends))),
        "part": {"stride": stride, "start": start, "stop": stop},
        "batch_size": draw(st.integers(1, 3)),
        "rate": draw(st.sampled_from([0.0, 0.02, 0.3])),
    }


@pytest.mark.parametrize("name", config_names("model"))
@settings(
    max_examples=12,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=cases())
def test_streaming_equals_the_windows_of_a_stream_of_any_length(
    name: str, case: dict[str, Any]
) -> None:
    network, total, ends = network_of(name), case["num_readouts"], case["ends"]
    stream = spikes.open(fake_spikes(total, 16, 20, rate=case["rate"]))
    start, stop = case["part"]["start"], min(case["part"]["stop"], total)
    inside = range(network.key_readout, total - network.window + network.key_readout + 1)
    wanted = range(start, stop)
    has_windows = (
        max(start, inside.start) < min(stop, inside.stop)
        if ends == "drop"
        else total >= MIN_READOUTS or (wanted[0] in inside and wanted[-1] in inside)
    )
    if not has_windows:
        with pytest.raises(WindowError, match=r"holds|in the \d+ that") as raised:
            KeyReadouts.of(stream, [network], ends=ends, **case["part"])
        assert "Give a longer recording" in str(raised.value) or "ends=reflect" in str(raised.value)
        return
    key_readouts = KeyReadouts.of(stream, [network], ends=ends, **case["part"])
    frames = list(
        make_frames(stream, [network], key_readouts, light_scale=0.5, batch_size=case["batch_size"])
    )
    assert [frame.key_readout for frame in frames] == list(key_readouts)
    if ends == "reflect":
        assert list(key_readouts) == list(wanted[:: case["part"]["stride"]])
    else:
        assert set(key_readouts) <= set(inside) & set(wanted)
    for frame in frames:
        expected = plain(stream, network, frame.key_readout, "reflect")
        torch.testing.assert_close(frame.images[0], expected, atol=1e-5, rtol=1e-5)
