"""Representations of spikes without learning: playback (TFP), intervals (TFI), nested means.

All functions take (B, T, H, W) spikes of any dtype, 0 and 1, on any device, and return firing
rates in spikes per readout: divide by the light scale to get intensity. Nothing loops over pixels.

Sources: Zhu et al., "A retina-inspired sampling method for visual texture reconstruction", ICME
2019 (TFP, TFI); rules and edge cases as in SpikeCV, whose two TFI rules differ (see `tfi`).
Departures from SpikeCV: a window that leaves the stream is an error rather than cut short, and the
interval search of a key readout admits the first readout (`include_first`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from spikerec.errors import InputError, WindowError
from spikerec.kinds import checked

TfiRule = Literal["key", "sequence"]
Closed = Literal["right", "left"]

#: Interval that SpikeCV's sequence rule gives to a pixel without one: 255 / 257 is a black uint8.
UNDEFINED_INTERVAL = 257


@checked
def tfp(spikes: Tensor, *, key_readout: int, window: int) -> Tensor:
    """Texture from playback: the firing rate in a window around the key readout.

    rate = (spikes in the window) / window

    Args:
        spikes: (B, T, H, W).
        key_readout: the window is [key_readout − window // 2, key_readout − window // 2 + window),
            so an odd window has it in the middle.
        window: number of readouts.

    Returns:
        (B, 1, H, W) float32 in [0, 1].

    Raises:
        InputError: not four axes.
        WindowError: the window leaves the stream.
    """
    _check_axes(spikes)
    first = key_readout - window // 2
    _check_window(spikes, first, first + window)
    return _divide(_count(spikes[:, first : first + window]), window).unsqueeze(1)


@checked
def tfp_sequence(spikes: Tensor, *, window: int) -> Tensor:
    """TFP at every readout whose window is inside the stream.

    Args:
        spikes: (B, T, H, W).
        window: number of readouts.

    Returns:
        (B, T − window + 1, H, W) float32 in [0, 1]; image i belongs to readout i + window // 2.

    Raises:
        InputError: not four axes.
        WindowError: the window is longer than the stream.
    """
    _check_axes(spikes)
    _check_window(spikes, 0, window)
    counts = spikes.cumsum(1, dtype=torch.int32)
    ends = counts[:, window - 1 :].clone()
    ends[:, 1:] -= counts[:, :-window]
    return _divide(ends, window)


@checked
def nested_means(block: Tensor, lengths: Sequence[int] = (21, 17, 13, 9, 5)) -> Tensor:
    """Firing rates of windows inside one another, all centred in the block.

    Args:
        block: (B, T, H, W).
        lengths: length of each window, of the parity of T and at most T.

    Returns:
        (B, len(lengths), H, W) float32, in the order of `lengths`.

    Raises:
        InputError: not four axes.
        WindowError: a length that cannot be centred in the block.

    Source: the TFP part of the hybrid spike embedding of STIR (NeurIPS 2024).
    """
    _check_axes(block)
    size = block.shape[1]
    for length in lengths:
        if not 1 <= length <= size or (size - length) % 2:
            raise WindowError(
                f"a window of {length} readouts cannot be centred in a block of {size}: "
                f"expected a length from {2 - size % 2} to {size} in steps of 2."
            )
    # From the shortest window outwards, so that each readout is added once.
    means: dict[int, Tensor] = {}
    count = torch.zeros_like(block[:, 0], dtype=torch.float32)
    first = stop = (size - min(lengths)) // 2
    for length in sorted(lengths):
        before = (size - length) // 2
        after = before + length
        count = count + _count(block[:, before:first]) + _count(block[:, stop:after])
        first, stop = before, after
        means[length] = _divide(count, length)
    return torch.stack([means[length] for length in lengths], 1)


@checked
def isi(spikes: Tensor, *, closed: Closed) -> Tensor:
    """Inter-spike interval that holds each readout.

    Args:
        spikes: (B, T, H, W).
        closed: `right` takes the previous spike p and the next n with p < t ≤ n, so that a readout
            that fires has the interval that ends there; `left` takes p ≤ t < n, the one that
            begins there.

    Returns:
        (B, T, H, W) int32, n − p in readouts; 0 where there is no previous or no next spike.

    Raises:
        InputError: not four axes, or an unknown `closed`.
    """
    _check_axes(spikes)
    if closed not in ("right", "left"):
        raise InputError(f"closed must be right or left, found {closed!r}.")
    size = spikes.shape[1]
    since = running_maximum(_since(spikes, 0, size))
    until = running_maximum(_until(spikes, 0, size).flip(1)).flip(1)
    if closed == "right":
        since = F.pad(since, (0, 0, 0, 0, 1, -1))
    else:
        until = F.pad(until, (0, 0, 0, 0, -1, 1))
    return _interval(since, until, size, undefined=0)


@checked
def tfi(
    spikes: Tensor,
    *,
    key_readout: int,
    half_window: int,
    rule: TfiRule = "key",
    include_first: bool = True,
) -> Tensor:
    """Texture from interval: the inverse of the inter-spike interval around the key readout.

    Two rules are in use. They differ at pixels that fire in the key readout, and where no interval
    is found:

    * `key` takes the interval that begins at the latest spike in (k − m, k] and ends at the first
      in (k, k + m], for half window m; a pixel without one has interval 2m.
    * `sequence` takes p < k ≤ n with no bound but the stream's; without one, 257.

    Args:
        spikes: (B, T, H, W).
        key_readout: k, in [0, T).
        half_window: m ≥ 1, bounds the search of the key rule; the search is cut at both ends of
            the stream.
        rule: `key` or `sequence`.
        include_first: let readout 0 begin an interval under the key rule; False as published.

    Returns:
        (B, 1, H, W) float32 in (0, 1].

    Raises:
        InputError: not four axes, or an unknown rule.
        WindowError: the key readout is not in the stream, or half_window < 1.
    """
    interval = tfi_interval(
        spikes,
        key_readout=key_readout,
        half_window=half_window,
        rule=rule,
        include_first=include_first,
    )
    return _inverse(interval)


@checked
def tfi_interval(
    spikes: Tensor,
    *,
    key_readout: int,
    half_window: int,
    rule: TfiRule = "key",
    include_first: bool = True,
) -> Tensor:
    """The interval in readouts whose inverse is `tfi`: (B, 1, H, W) int32, arguments as there."""
    _check_axes(spikes)
    if rule not in ("key", "sequence"):
        raise InputError(f"rule must be key or sequence, found {rule!r}.")
    _check_window(spikes, key_readout, key_readout + 1)
    if half_window < 1:
        raise WindowError(f"half_window must be at least 1, found {half_window}.")
    size = spikes.shape[1]
    if rule == "sequence":
        first, begin, last = 0, key_readout, size
        undefined = UNDEFINED_INTERVAL
    else:
        first = max(key_readout - half_window + 1, 0 if include_first else 1)
        begin, last = key_readout + 1, min(key_readout + half_window + 1, size)
        undefined = 2 * half_window
    since = _maximum(_since(spikes, first, begin))
    until = _maximum(_until(spikes, begin, last))
    return _interval(since, until, size, undefined)


def inverse_interval(spikes: Tensor, key_readout: int, search: int) -> Tensor:
    """The inverse of the inter-spike interval around a key readout, in a bounded search.

    The interval begins at the latest spike of the `search` readouts up to the key readout, and ends
    at the earliest of the `search` readouts after it. A missing first spike counts as one just
    beyond the search, a missing second one as one at its last readout, as published; the key rule
    of `tfi` treats both alike.

    Args:
        spikes: (B, T, H, W) float, 0 and 1.
        key_readout: in [search − 1, T − search).
        search: readouts on either side.

    Returns:
        (B, 1, H, W), firing rates from 1 / (2 · search) to 1.

    Raises:
        InputError: the search leaves the window.

    Source: the labels of SSML (Chen et al., IJCAI 2022), TFI in its code.
    """
    first, stop = key_readout - search + 1, key_readout + 1 + search
    if first < 0 or stop > spikes.shape[1]:
        raise InputError(
            f"a search of {search} readouts around readout {key_readout} leaves the window of "
            f"{spikes.shape[1]}: shorten the search, or set window to at least {2 * search + 1}."
        )
    ranks = torch.arange(1, search + 1, dtype=spikes.dtype, device=spikes.device)[:, None, None]
    since = (spikes[:, first : key_readout + 1] * ranks).amax(1, keepdim=True)
    until = (spikes[:, key_readout + 1 : stop] * ranks.flip(0)).amax(1, keepdim=True)
    interval = (search - since) + (search + 1 - until).clamp(max=search)
    return interval.reciprocal()


def _divide(counts: Tensor, length: int) -> Tensor:
    """Counts / length in float32, correctly rounded.

    The divisor is a tensor because CUDA divides by a number by multiplying with its reciprocal.
    """
    return counts.float() / torch.full((), length, dtype=torch.float32, device=counts.device)


def _inverse(interval: Tensor) -> Tensor:
    return interval.float().reciprocal()


def _count(spikes: Tensor) -> Tensor:
    """Spikes over time, in float32 (exact up to 2²⁴): (B, H, W)."""
    return spikes.sum(1, dtype=torch.float32)


# An interval is found from two marks on each spike: `since` grows with time, so that its maximum is
# the latest spike; `until` falls, so that its maximum is the earliest. Of T readouts, t is marked
# t + 1 and T − t. A readout without a spike is marked 0 both times.


def _since(spikes: Tensor, first: int, stop: int) -> Tensor:
    """Marks t + 1 of the spikes in [first, stop): (B, stop − first, H, W)."""
    return _marked(spikes, first, stop, range(first + 1, stop + 1))


def _until(spikes: Tensor, first: int, stop: int) -> Tensor:
    """Marks T − t of the spikes in [first, stop): (B, stop − first, H, W)."""
    size = spikes.shape[1]
    return _marked(spikes, first, stop, range(size - first, size - stop, -1))


def _marked(spikes: Tensor, first: int, stop: int, marks: range) -> Tensor:
    # int16 halves the traffic that intervals cost, but ONNX has no maximum of it
    fits = spikes.shape[1] < torch.iinfo(torch.int16).max and not torch.compiler.is_exporting()
    part = spikes[:, first:stop].to(torch.int16 if fits else torch.int32)
    values = torch.arange(marks.start, marks.stop, marks.step, dtype=part.dtype, device=part.device)
    return part * values[:, None, None]


def running_maximum(marks: Tensor) -> Tensor:
    """Maximum over all readouts up to each, in place, in log₂ T passes over (B, T, H, W).

    A third of the time of `torch.cummax`, which also gives int64 indices.
    """
    reach = 1
    while reach < marks.shape[1]:
        marks[:, reach:] = torch.maximum(marks[:, reach:], marks[:, :-reach])
        reach *= 2
    return marks


def _maximum(marks: Tensor) -> Tensor:
    """Maximum over time, 0 where there are no readouts: (B, 1, H, W)."""
    return F.pad(marks, (0, 0, 0, 0, 0, 1)).amax(1, keepdim=True)


def _interval(since: Tensor, until: Tensor, size: int, undefined: int) -> Tensor:
    """Readouts from the spike marked `since` to the one marked `until` of `size`, int32."""
    # Arithmetic on 0 and 1 instead of a mask: filling by a random mask takes ten times as long.
    defined = (since.clamp(max=1) * until.clamp(max=1)).int()
    return undefined + (size + 1 - undefined - (since + until).int()) * defined


def _check_axes(spikes: Tensor) -> None:
    if spikes.ndim != 4:
        raise InputError(
            f"spikes must be (B, T, H, W), found {spikes.ndim} axes: {tuple(spikes.shape)}."
        )


def _check_window(spikes: Tensor, first: int, stop: int) -> None:
    size = spikes.shape[1]
    if not 0 <= first < stop <= size:
        raise WindowError(
            f"spikes hold {size} readouts, expected those in [{first}, {stop}): choose a window "
            f"within [0, {size})."
        )
