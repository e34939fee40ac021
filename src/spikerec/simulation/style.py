"""Styles of random scenes: ranges and probabilities of what is drawn."""

from __future__ import annotations

from dataclasses import dataclass

from spikerec.errors import ConfigError
from spikerec.kinds import checked

MOTION_SPAN = 61  # readouts over which motion is stated: the window of STIR

#: Fields of a style that are probabilities.
PROBABILITIES = (
    *("limbs", "still", "parallax", "linear", "flicker", "interpolated"),
    *("defocus", "exposure", "saturation", "text"),
)


@checked
@dataclass(frozen=True)
class SceneStyle:
    """Ranges of motion, objects and light of a random scene.

    Args:
        motion: range of the background's largest speed, in pixels over 61 readouts; drawn
            log-uniformly, or uniformly where the least is 0.
        object_motion: range of the objects' largest speed, likewise.
        objects: least and largest number of objects.
        warp: largest local displacement of the background, in pixels; never more than the
            background moves over 61 readouts.
        limbs: probability that a moving object has a part that swings about a joint, in [0, 1].
        brightness: range of the factor on intensities, in (0, 1]; drawn log-uniformly.
        still: probability that the background, and each object, does not move at all, in [0, 1].
        parallax: probability that an object is part of the scenery, so that it moves as the
            background does, but farther because it is nearer, in [0, 1].
        linear: probability that the photographs' grey values are linearised, in [0, 1].
        flicker: probability that the light flickers as a lamp's does, in [0, 1].
        interpolated: probability that the scene is exact at every 20 to 150 readouts alone, and
            interpolated between them, as sets made from video are (`spikerec.simulation.filmed`),
            in [0, 1]. The light that changes is exact at all readouts.
        defocus: probability that the background, and each object, is out of focus, in [0, 1]: every
            point is a disc of 0.5 to 3 pixels radius, which in half of them changes slowly.
        exposure: probability that the light changes once within 60 readouts of the key readout, by
            a factor of 0.5 to 2 over 2 to 200 readouts, in [0, 1]. The brighter level is that which
            `brightness` draws.
        saturation: probability that up to a tenth of each thing, and up to three lamps, are
            brighter than the sensor can follow, 1.5 to 6 before intensity is clipped at 1, in
            [0, 1].
        text: probability that an object is a line of text, bare or on a sign, in [0, 1].

    Raises:
        ConfigError: a range that is empty or negative, or a value outside its range.
    """

    motion: tuple[float, float] = (5.0, 30.0)
    object_motion: tuple[float, float] = (10.0, 60.0)
    objects: tuple[int, int] = (0, 3)
    warp: float = 2.0
    limbs: float = 0.0
    brightness: tuple[float, float] = (1.0, 1.0)
    still: float = 0.0
    parallax: float = 0.0
    linear: float = 0.0
    flicker: float = 0.0
    interpolated: float = 0.0
    defocus: float = 0.0
    exposure: float = 0.0
    saturation: float = 0.0
    text: float = 0.0

    def __post_init__(self) -> None:
        for name in ("motion", "object_motion", "objects"):
            value = getattr(self, name)
            if len(value) != 2 or not 0 <= value[0] <= value[1]:
                raise ConfigError(
                    f"{name} must be a range [least, largest] from 0 up, found {list(value)}."
                )
        if self.warp < 0:
            raise ConfigError(f"warp must be 0 or above, found {self.warp}.")
        for name in PROBABILITIES:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], found {getattr(self, name)}.")
        if len(self.brightness) != 2 or not 0 < self.brightness[0] <= self.brightness[1] <= 1:
            raise ConfigError(
                "brightness must be a range [least, largest] in (0, 1], found "
                f"{list(self.brightness)}."
            )


#: Motion from 0.01 to 2 pixels a readout, over 61 readouts, and changing light.
VARIED_STYLE = SceneStyle(
    motion=(0.6, 122.0),
    object_motion=(0.6, 122.0),
    warp=3.0,
    limbs=0.4,
    brightness=(0.4, 1.0),
    still=0.2,
    parallax=0.3,
    linear=0.3,
    flicker=0.1,
)
