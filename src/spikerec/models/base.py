"""The contract of every reconstruction network: a window of spikes in, an intensity image out.

One place owns three rules that all methods share:

* which readouts a network sees (`window`) and which of them it reconstructs (`key_readout`);
* padding to the spatial multiple a network needs, and cropping back (`margins`);
* turning a network's output into intensity, given the light scale α of the stream
  (`to_intensity`).

Classical methods are networks without parameters, and a network says of itself what others need to
know: its extras that are images, its cheapest way along a stream (`along`), the state that it can
carry from window to window (`hop`), and its text in a table (`variant`). Nothing outside asks for
the class of a network.
"""

from __future__ import annotations

import itertools
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from spikerec.describing import Described
from spikerec.errors import ConfigError, InputError, WindowError
from spikerec.kernels.devices import can_branch
from spikerec.kinds import found_array
from spikerec.models.modes import in_eval_mode
from spikerec.models.padding import Margins, Padding
from spikerec.models.reconstructors import ByWindows, Reconstructor
from spikerec.spikes.geometry import check_light_scale
from spikerec.spikes.grey import grey_levels
from spikerec.spikes.stream import SpikeStream

#: The state that a network carries from window to window: a tree of tensors of its own making.
State = Any
#: Kinds of numbers with which PyTorch can do next to nothing.
HARDLY_SUPPORTED = (torch.uint16, torch.uint32, torch.uint64)


class Reconstruction(NamedTuple):
    """The result of a network: an image, and named extras that a loss may ask for.

    Attributes:
        image: (B, 1, H, W) float32. Intensity in [0, 1] for a network whose `output_scale` is None;
            otherwise in the network's own unit (see `Network.output_scale`).
        extras: name → tensor or tuple of tensors; a network states their names in its
            `provides`. Used so far: `pyramid` (images from full size down, each half the size of
            the one before), `flows` (pairs of (B, 2, h, w) fields, x then y, in pixels),
            `estimates` (coarse per-window images, (B, C, H, W) each, in the unit of `image`),
            `blind` (the image of a blind-spot network, likewise), `sides` (images of an earlier and
            of a later readout, likewise).
    """

    image: Tensor
    extras: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        """Shape and range of the image, and the names of the extras."""
        shape = " × ".join(map(str, self.image.shape))
        low, high = (f"{float(one):.3g}" for one in torch.aminmax(self.image))
        extras = f", extras {', '.join(self.extras)}" if self.extras else ""
        return f"Reconstruction(image {shape} in [{low}, {high}]{extras})"

    def _repr_png_(self) -> bytes:
        """The images of the batch side by side, intensity 1 white, as a notebook shows them."""
        picture = self.image.detach().squeeze(1).float().cpu().numpy()
        buffer = BytesIO()
        Image.fromarray(grey_levels(np.hstack(list(picture)))).save(buffer, "PNG")
        return buffer.getvalue()


class Network(Described, nn.Module, ABC):
    """Base of every method.

    A subclass defines `forward`, passes `window` to this constructor, and overrides the class
    attributes that differ. `forward` may assume sizes that `multiple` divides; `reconstruct` takes
    any size.

    Class attributes:
        multiple: height and width must be multiples of it inside `forward`.
        padding: how pictures are padded to it.
        starts_linear: True where the first layer is linear in the spikes and takes any numbers, so
            that a sensor's fixed pattern is best taken out of the spikes.
        provides: names of the extras that `forward` returns in training mode.
        image_extras: those of them that are images in the unit of `image`, and so are scaled with
            it, and cropped with it where they have its size.
        is_per_pixel: True if each pixel of the image depends on the spikes of that pixel alone.
        published_names: the authors' names as regular expressions, and ours; substituted in turn.
        published_output_scale: the `output_scale` of the published weights; 1 for firing rates.
        settled_by_weights: arguments that a checkpoint settles, whatever the network was made with.
        bears_motion: pixels that a scene may move within the window before its images are clearly
            blurred. 40 for a network: the scenes that networks are trained on move as far, and
            `fast` falls from 35 to 29 dB between 24 and 49 pixels.
        is_continuous: False if the image jumps where a rounding flips something inside, such as the
            spike of a neuron; such a network is not rearranged for inference.

    Attributes:
        hop: readouts from a window to the next one that may go on from its state; None for a
            network without state. See `StatefulNetwork`.
        is_loaded: True once weights were loaded in the place of those drawn at random.
        weights_file: the file that the weights were read from, and their digest then; None where
            they were drawn, or loaded otherwise. See `spikerec.weights.trained.weights_file`.

    Args:
        window: readouts the network sees.
        output_scale: the light scale at which the network's image is intensity. On a stream of
            light scale α the intensity is image · output_scale / α. 1 for a network that gives
            firing rates; the training set's α for a network trained at one light scale; None for a
            network that gives intensity at any light scale.

    Raises:
        ConfigError: window < 1, or output_scale not in (0, 1].
    """

    multiple: ClassVar[int] = 1
    padding: ClassVar[Padding] = Padding()
    provides: ClassVar[tuple[str, ...]] = ()
    starts_linear: ClassVar[bool] = False
    image_extras: ClassVar[tuple[str, ...]] = ()
    is_per_pixel: ClassVar[bool] = False
    published_names: ClassVar[Sequence[tuple[str, str | Callable[[re.Match[str]], str]]]] = ()
    published_output_scale: ClassVar[float | None] = 1.0
    settled_by_weights: ClassVar[tuple[str, ...]] = ("output_scale",)
    bears_motion: ClassVar[float] = 40.0
    is_continuous: ClassVar[bool] = True
    how_to_make: ClassVar[str] = (
        "load a method by its name, spikerec.load('tfp'), or derive a class from "
        "spikerec.models.Network."
    )

    def __init__(self, window: int, output_scale: float | None = None) -> None:
        super().__init__()
        if window < 1:
            raise ConfigError(f"window must be at least 1, found {window}.")
        if output_scale is not None:
            output_scale = check_light_scale(output_scale, "output_scale")
        self.window = window
        self._output_scale = output_scale
        self.hop: int | None = None
        self.is_loaded = False
        self.weights_file: tuple[Path, str] | None = None

    def __repr__(self) -> str:
        count = sum(parameter.numel() for parameter in self.parameters())
        stated = f"{type(self).__name__}(window={self.window}, {count:,} parameters"
        if self.weights_file is not None:
            return f"{stated}, weights of {self.weights_file[0].name})"
        return f"{stated})"

    @property
    def output_scale(self) -> float | None:
        """Light scale at which the image is intensity; a property of the weights, set once."""
        return self._output_scale

    @property
    def key_readout(self) -> int:
        """Index in the window of the readout that is reconstructed: the middle one."""
        return self.window // 2

    @property
    def floating(self) -> tuple[str, ...] | None:
        """Names of the parts that stay in floating point where other convolutions have 8 bits.

        None, the default: the network has not been tried in 8 bits (see `inference.quantised`).
        """
        return None

    @property
    def variant(self) -> str:
        """Text that distinguishes this network from others of its class in a table; often empty."""
        return ""

    def along(self, stride: int) -> Reconstructor:
        """Return the cheapest way to the images of key readouts `stride` apart in one stream.

        It begins a stream, and keeps what later windows share with earlier ones. The default
        computes each window on its own.
        """
        del stride
        return ByWindows(self)

    def margins(self, height: int, width: int) -> Margins:
        """The margins by which pictures of this size are padded, and cropped back."""
        return self.padding.margins(height, width, self.multiple)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (PyTorch's)
        """Load weights, and note that these are no longer the ones drawn at random."""
        result = super().load_state_dict(*args, **kwargs)
        self.is_loaded, self.weights_file = True, None
        return result

    @abstractmethod
    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct the key readout of a window.

        Args:
            spikes: (B, window, H, W) float, 0 and 1; `multiple` divides H and W.

        Returns:
            The image (B, 1, H, W), in the unit that `output_scale` states, and in training mode the
            extras named in `provides`.

        Raises:
            InputError: another number of dimensions or readouts, or sizes that do not divide.
        """

    @classmethod
    def from_published(cls, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a published state dict (without `module.` prefix) to this network's names.

        The default applies `published_names`. A name that cannot be translated is kept as it is, so
        that loading reports it.
        """
        renamed = {}
        for name, tensor in state.items():
            for theirs, ours in cls.published_names:
                name = re.sub(theirs, ours, name)
            renamed[name] = tensor
        return renamed

    def prepare_for(self, state: Mapping[str, Tensor]) -> None:
        """Take the form of the weights: drop what only training uses, or what a version lacked.

        Called with a state dict under this network's names before it is loaded. The default drops
        nothing, so that every name must be there.
        """

    def reconstruct(
        self,
        spikes: Tensor | NDArray[Any] | SpikeStream,
        light_scale: Tensor | float | None = None,
        *,
        validate: bool = True,
    ) -> Reconstruction:
        """Intensity of the key readout, for a window of any height and width.

        Args:
            spikes: (B, window, H, W) or (window, H, W), values 0 and 1, any dtype: a tensor on the
                network's device, an array of NumPy, or a stream of as many readouts. Arrays and
                streams are reconstructed in eval mode and without gradients.
            light_scale: light scale α of the streams, (B,) or one number, in (0, 1]. None takes
                what the stream states of which `spikes` is a part, as `stream[100:161]`; where it
                states none, 1, so that the image is a firing rate.
            validate: check that every value is 0 or 1, and every light scale one (waits for the
                device).

        Returns:
            Image (B, 1, H, W) in intensity, not clipped, a tensor on the network's device (B is 1
            for a window without batch axis), and the extras; where padding was needed,
            only those of the image's size, which are cropped with it. The image of a window without
            any spike is black (see `darken`).

        Raises:
            InputError: wrong shape, or values other than 0 and 1.
            ConfigError: a light scale that is none; or `forward` returned something else than the
                image of such a window.
        """
        if not isinstance(spikes, Tensor):
            stated = getattr(spikes, "light_scale", None) if light_scale is None else light_scale
            with torch.no_grad(), in_eval_mode(self):
                return self.reconstruct(self._as_tensor(spikes), stated, validate=validate)
        if spikes.ndim == 3:
            spikes = spikes[None]
        if spikes.dtype in HARDLY_SUPPORTED:
            spikes = spikes.to(torch.int64)
        check_window(spikes, self.window)
        if light_scale is None:
            light_scale = 1.0
        if not isinstance(light_scale, Tensor):
            light_scale = check_light_scale(light_scale)
        if validate:
            check_binary(spikes)
            _check_light_scales(light_scale)
        margins = self.margins(*spikes.shape[-2:])
        output = self.run(self._padded(spikes, margins))
        return self._finished(output, spikes, margins, light_scale)

    def run(self, spikes: Tensor) -> Reconstruction:
        """Return what `forward` returns, after a check of its form.

        Args:
            spikes: as `forward` takes them.

        Raises:
            ConfigError: see `check_output`.
        """
        return check_output(self, self(spikes), spikes.shape)

    def run_step(self, spikes: Tensor, state: State) -> tuple[Reconstruction, State]:
        """Return what `step` returns, after a check of its form.

        Args:
            spikes: as `forward` takes them.
            state: see `step`.

        Raises:
            ConfigError: no pair of a reconstruction and a state; or see `check_output`.
        """
        returned: Any = self.step(spikes, state)
        is_pair = isinstance(returned, tuple) and len(returned) == 2
        if not is_pair or isinstance(returned, Reconstruction):
            raise ConfigError(
                f"{type(self).__name__}.step must return a reconstruction and a state, found a "
                f"{type(returned).__name__}: return Reconstruction(image), state."
            )
        output, state = returned
        return check_output(self, output, spikes.shape, "step"), state

    def initial_state(self, spikes: Tensor) -> State:
        """The state from which the first window of a stream is reconstructed.

        Args:
            spikes: the first window, as `forward` takes it.

        Returns:
            A tree of tensors (tuples, lists, mappings), of the batch and size of the spikes.

        Raises:
            ConfigError: the network carries no state.
        """
        del spikes
        raise carries_none(self)

    def step(self, spikes: Tensor, state: State) -> tuple[Reconstruction, State]:
        """Reconstruct a window from the state that the window `hop` readouts before it left.

        Gradients run back through the state to earlier windows.

        Args:
            spikes: the window, as `forward` takes it.
            state: of `initial_state`, or of the step before.

        Returns:
            What `forward` returns, and the state for the window `hop` readouts later.

        Raises:
            ConfigError: the network carries no state.
            InputError: the state is of another batch or picture size.
        """
        del spikes, state
        raise carries_none(self)

    def reconstruct_next(
        self, spikes: Tensor, light_scale: Tensor | float = 1.0, state: State = None
    ) -> tuple[Reconstruction, State]:
        """Intensity of the key readout, from the state that the windows before have left.

        As `reconstruct`, for windows of any height and width; a call for each window of a stream,
        `hop` readouts apart, in order. Spikes and light scales are not validated.

        Args:
            spikes: (B, window, H, W), 0 and 1, a tensor on the network's device.
            light_scale: as in `reconstruct`.
            state: what the call before returned; None begins a stream. It has the padded size.

        Returns:
            The reconstruction, and the state for the next call.

        Raises:
            ConfigError: the network carries no state, or `step` returned something else than the
                image of such a window and a state.
            InputError: wrong shape, or a state of another batch or picture size.
        """
        check_window(spikes, self.window)
        margins = self.margins(*spikes.shape[-2:])
        padded = self._padded(spikes, margins)
        before = self.initial_state(padded) if state is None else state
        output, state = self.run_step(padded, before)
        return self._finished(output, spikes, margins, light_scale), state

    def _padded(self, spikes: Tensor, margins: Margins) -> Tensor:
        """Spikes as `forward` takes them: padded while they are bytes, a quarter of the floats."""
        return margins.pad(spikes).to(self.dtype)

    def _finished(
        self,
        output: Reconstruction,
        spikes: Tensor,
        margins: Margins,
        light_scale: Tensor | float,
    ) -> Reconstruction:
        """Crop what the network returned, darken it, and turn it into intensity."""
        image, extras = output
        if margins:
            extras = {
                name: tree_map(margins.crop, extras[name])
                for name in self.image_extras
                if name in extras
                and all(one.shape[-2:] == image.shape[-2:] for one in tree_leaves(extras[name]))
            }
        image = darken(margins.crop(image), spikes, self.key_readout)
        return self.to_intensity(Reconstruction(image, extras), light_scale)

    def _as_tensor(self, spikes: object) -> Tensor:
        """A window in NumPy, or a stream of one window, as a tensor on the network's device."""
        if isinstance(spikes, SpikeStream):
            if len(spikes) != self.window:
                raise WindowError(
                    f"spikes must hold {self.window} readouts, found a stream of {len(spikes)}: "
                    "cut a window from it, as stream[100:161], or make a video of it "
                    "(spikerec.reconstruct)."
                )
            spikes = spikes[:]
        if isinstance(spikes, np.ma.MaskedArray):
            raise InputError(
                "spikes must be an array without a mask, found a MaskedArray: fill it first "
                "(spikes.filled(0))."
            )
        if not isinstance(spikes, np.ndarray) or spikes.dtype.kind not in "buif":
            found = spikes.dtype if isinstance(spikes, np.ndarray) else type(spikes).__name__
            raise InputError(
                f"spikes must be a tensor or an array of numbers, found {found}: open a file first "
                "(spikerec.open)."
            )
        native = spikes.dtype.newbyteorder("=")  # the only byte order that PyTorch has
        values = torch.from_numpy(np.require(np.asarray(spikes), native, ["C", "W"]))
        held = next(itertools.chain(self.parameters(), self.buffers()), values)
        return values.to(held.device)

    def to_intensity(
        self, reconstruction: Reconstruction, light_scale: Tensor | float
    ) -> Reconstruction:
        """Scale the image and the extras that are images from the network's unit to intensity."""
        if self.output_scale is None:
            return reconstruction
        image = reconstruction.image
        alpha = torch.as_tensor(light_scale, dtype=image.dtype, device=image.device)
        gain = (self.output_scale / alpha).reshape(-1, 1, 1, 1)
        extras = {
            name: tree_map(gain.mul, value) if name in self.image_extras else value
            for name, value in reconstruction.extras.items()
        }
        return Reconstruction(image * gain, extras)

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the parameters; float32 for a network without any."""
        return next((p.dtype for p in self.parameters() if p.is_floating_point()), torch.float32)


class StatefulNetwork(Network):
    """A network that can carry a state from window to window of a stream.

    A subclass sets `hop` in its constructor and defines `initial_state` and `step`. Training over
    sequences, evaluation and bench use these alone. `forward` sees a window on
    its own: it is a step from the initial state.
    """

    def forward(self, spikes: Tensor) -> Reconstruction:
        """Reconstruct a window on its own (see `Network.forward`)."""
        return self.step(spikes, self.initial_state(spikes))[0]


def carries_none(network: Network) -> ConfigError:
    """The error of a network that is asked for a state that it does not have."""
    return ConfigError(
        f"{type(network).__name__} carries no state from window to window: leave out carry and "
        "sequence, or take a network that does, such as ssir, etnet or hypere2vid."
    )


def darken(image: Tensor, spikes: Tensor, key_readout: int) -> Tensor:
    """Make black the images of windows in which no pixel fired.

    Networks never saw such a window and answer with some grey, and TFI with the longest interval it
    can tell. No spike means no light that the camera could see, so all methods return 0. Windows
    with any spike are left as the method has them.

    Args:
        image: (B, 1, H, W).
        spikes: (B, T, H, W), the windows.
        key_readout: a readout that is looked at first: one spike in it settles the question.
    """
    if can_branch(spikes) and bool((spikes[:, key_readout].flatten(1).amax(1) > 0).all()):
        return image
    is_dark = spikes.flatten(1).amax(1) == 0
    return image.masked_fill(is_dark.view(-1, 1, 1, 1), 0)


def default_label(network: Network, method: str) -> str:
    """Name of a row: the class as the papers write it, and its difference from others of it.

    A variant is a YAML of its own (`hypere2vid_static`), or what the network itself states.
    """
    name, module = type(network).__name__, type(network).__module__.rpartition(".")[2]
    variant = network.variant or method.removeprefix(module).strip("_").replace("_", " ")
    return f"{name} ({variant})" if variant else name


def check_output(
    network: Network, output: object, shape: Sequence[int], method: str = "forward"
) -> Reconstruction:
    """Return the output of a network's method if it is the reconstruction of the spikes.

    Shapes and types alone are looked at, so that it works without values and in an export.

    Args:
        network: named in the error.
        output: what the method returned.
        shape: B, T, H, W of the windows that the method was given.
        method: named in the error.

    Raises:
        ConfigError: the output is no `Reconstruction` of an image (B, 1, H, W) of floating-point
            numbers and of extras by name.
    """
    must = f"{type(network).__name__}.{method} must return"
    if not isinstance(output, Reconstruction):
        raise ConfigError(
            f"{must} Reconstruction(image, extras), found {found_array(output)}: return "
            "Reconstruction(image)."
        )
    image, extras = output
    if not isinstance(image, Tensor):
        raise ConfigError(f"{must} an image that is a tensor, found {found_array(image)}.")
    samples, _, height, width = shape
    if image.shape != (samples, 1, height, width):
        raise ConfigError(
            f"{must} an image (B, 1, H, W), here {(samples, 1, height, width)}, found "
            f"{tuple(image.shape)}."
        )
    if not image.is_floating_point():
        raise ConfigError(
            f"{must} an image of floating-point numbers, as torch.float32, found {image.dtype}: "
            "return intensity or firing rate, not grey levels."
        )
    if not isinstance(extras, Mapping):
        raise ConfigError(
            f"{must} extras by their names, {{}} for none, found {found_array(extras)}."
        )
    return output


def check_window(spikes: Tensor, window: int, multiple: int = 1) -> None:
    """Refuse spikes that are not (B, window, H, W) with sides that `multiple` divides.

    Raises:
        InputError: the argument `spikes` has another number of dimensions, no pixels, or
            indivisible sides.
        WindowError: it has another number of readouts.
    """
    if spikes.ndim != 4:
        raise InputError(
            f"spikes must be (B, {window}, H, W), found {spikes.ndim} dimensions: "
            f"{tuple(spikes.shape)}. Add the missing axes, or drop the extra ones."
        )
    if spikes.shape[1] != window:
        raise WindowError(
            f"spikes must hold {window} readouts (B, {window}, H, W), found {spikes.shape[1]}: "
            f"{tuple(spikes.shape)}. Cut the window to size, or take a network of this window."
        )
    height, width = spikes.shape[-2:]
    if not spikes.numel():
        raise InputError(
            f"spikes must hold at least one pixel, found {tuple(spikes.shape)}: check the crop."
        )
    if height % multiple or width % multiple:
        raise InputError(
            f"spikes must have sides that are multiples of {multiple}, found {height} × {width}. "
            "Network.reconstruct pads any size."
        )


def _check_light_scales(values: Tensor | float) -> None:
    if isinstance(values, Tensor):
        for value in values.flatten().tolist():
            check_light_scale(value)


def check_binary(spikes: Tensor) -> None:
    """Refuse values other than 0 and 1, NaN included.

    Raises:
        InputError: naming the first value found that is neither.
    """
    if spikes.dtype == torch.bool or not spikes.numel():
        return
    if spikes.dtype == torch.uint8 and spikes.amax() <= 1:  # the usual case, in one pass
        return
    wrong = (spikes != 0) & (spikes != 1)
    if bool(wrong.any()):
        found = spikes[wrong][0].item()
        raise InputError(
            f"spikes must hold only 0 and 1, found {found}. Unpack packed bits first "
            "(spikerec.spikes.unpack_bits)."
        )
