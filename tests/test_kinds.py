"""Kinds of arguments: checked by annotation, for all that the package offers."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikerec
from spikerec.configs import config_dir
from spikerec.data import REDS, SpikeDataModule
from spikerec.describing import describe
from spikerec.errors import ArgumentError, SpikerecError
from spikerec.kinds import checked
from spikerec.losses import L1, Loss
from spikerec.models import STIR, TFP, Blocks, Fast, Network
from spikerec.simulation import Camera
from spikerec.targets import make

#: Rooms whose classes and functions people call; of `results` the functions alone.
ROOMS = (
    *("data", "losses", "metrics", "models", "results", "simulation", "spikes", "streaming"),
    *("training", "weights"),
)

#: Classes that functions return and users do not make, or whose constructor is a library's.
MADE_FOR_USERS = {
    *("models.Reconstruction", "spikes.Inspection", "spikes.SpikeWindow", "streaming.Frame"),
    *("training.Monitor", "simulation.Scene", "spikes.Comparison", "spikes.Histograms"),
    *("weights.Listed", "weights.Package", "weights.Source", "weights.Weights"),
}


#: Classes that check values themselves, with what they need beside the wrong one.
VALID = {"spikes.Geometry": {"height": 4, "width": 4}, "spikes.Sidecar": {}}

VIDEO = spikerec.reconstruct(np.zeros((21, 4, 4), np.uint8), "tfp")


class Wrong:
    """An object that no argument is for."""


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every class and function that a room offers, by its full name."""
    for room in ROOMS:
        module = import_module(f"spikerec.{room}")
        for name in dir(module):
            made = getattr(module, name)
            if inspect.isabstract(made):
                continue
            is_returned = f"{room}.{name}" in MADE_FOR_USERS or (
                room == "results" and inspect.isclass(made) and name != "Store"
            )
            if (inspect.isclass(made) or inspect.isfunction(made)) and not is_returned:
                yield f"{room}.{name}", made
    for name in ("evaluate", "fit", "leaderboard", "load", "open", "reconstruct"):
        yield name, getattr(spikerec, name)


def arguments() -> Iterator[tuple[str, Callable[..., Any], str]]:
    """Every argument that has an annotation which says something."""
    for name, made in public():
        function = made.__init__ if inspect.isclass(made) else made
        for one in list(inspect.signature(made).parameters.values()):
            if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) or one.annotation == "Any":
                continue
            assert hasattr(function, "_call"), f"{name} does not check its arguments"
            yield name, made, one.name


ARGUMENTS = list(arguments())
PUBLIC = list(public())


@pytest.mark.parametrize(
    ("name", "made", "argument"), ARGUMENTS, ids=[f"{one[0]}-{one[2]}" for one in ARGUMENTS]
)
def test_a_wrong_kind_is_refused_by_name(
    name: str, made: Callable[..., Any], argument: str
) -> None:
    with pytest.raises(SpikerecError) as caught:
        made(**VALID.get(name, {}) | {argument: Wrong()})
    owner = name.rpartition(".")[2]
    if name not in VALID:
        assert str(caught.value).startswith(f"{owner}: {argument} must be "), str(caught.value)
    assert f"{argument} must be " in str(caught.value)
    assert "Wrong" in str(caught.value)


@pytest.mark.parametrize("made", [one[1] for one in PUBLIC], ids=[one[0] for one in PUBLIC])
def test_a_misspelt_keyword_is_answered_with_the_right_one(made: Callable[..., Any]) -> None:
    parameters = list(inspect.signature(made).parameters.values())
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    named = [one.name for one in parameters if one.kind in kinds]
    if named and not any(one.kind is one.VAR_KEYWORD for one in parameters):
        typo = f"{named[-1]}x"
        with pytest.raises(ArgumentError, match=rf"no argument '{typo}': did you mean {named[-1]}"):
            made(**{typo: 1})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: STIR(window="61"), "STIR: window must be a whole number, found the text '61'."),
        (lambda: STIR(window=True), "STIR: window must be a whole number, found True."),
        (lambda: STIR(window=61.5), "STIR: window must be a whole number, found 61.5."),
        (lambda: STIR(window=10**30), "STIR: window must be a whole number, found a number of 100"),
        (lambda: L1(weight="a"), "L1: weight must be a finite number, found the text 'a'."),
        (lambda: L1(weight=float("nan")), "L1: weight must be a finite number, found nan."),
        (lambda: L1(clip=1), "L1: clip must be True or False, found 1."),
        (lambda: REDS(3), "REDS: root must be a path, found 3."),
        (lambda: REDS(), "REDS needs the argument 'root'."),
        (lambda: REDS("reds").clips("trian"), "split must be train, val or test, found the text "),
        (lambda: REDS("reds").clips("trian"), "'trian': did you mean train?"),
        (lambda: Fast(channels=-1), "Fast: channels must be a list of whole numbers, found -1."),
        (lambda: Fast(channels=[32, "a"]), "channels[1] must be a whole number, found the text "),
        (lambda: STIR(attention="symetric"), "attention must be symmetric, one_sided or none"),
        (lambda: TFP(31, 2), "TFP takes 1 arguments by their place at most, found 2"),
        (lambda: Loss(l1=3), "Loss: l1 must be a Term or None, found 3: name a term"),
        (lambda: Loss({"l1": L1}), "Loss: terms.l1 must be a Term or None, found the class L1"),
        (lambda: Loss({3: L1()}), "terms must be a mapping whose keys are texts, found 3"),
        (lambda: SpikeDataModule(REDS("a"), window=61, batch_size="8"), "batch_size must be a "),
        (
            lambda: SpikeDataModule(REDS("a"), window=61, crop=[64]),
            "crop must be two whole numbers",
        ),
        (lambda: SpikeDataModule(3, window=61), "sets must be a SpikeSet, a list of SpikeSets or"),
        (lambda: Camera(light_scale="bright"), "Camera: light_scale must be a finite number"),
        (
            lambda: spikerec.fit(TFP(), 3, folder="a"),
            "fit: data must be a SpikeDataModule, ",
        ),
        (lambda: spikerec.evaluate(3, REDS("a")), "network must be a Network, found 3: load a "),
        (lambda: spikerec.load(3), "load: name must be a path, found 3."),
        (lambda: spikerec.reconstruct("car.npy", strid=3), "'strid': did you mean stride"),
        (lambda: spikerec.load("fast", chanels=3), "Fast has no argument 'chanels': did you mean"),
        (lambda: spikerec.open("car.npy", lightscale=1), "open has no argument 'lightscale': did"),
        (
            lambda: spikerec.open("a" * 300),
            "path must be a path whose names have at most 255 bytes",
        ),
        (
            lambda: spikerec.leaderboard("a" * 300),
            "names have at most 255 bytes, found text",
        ),
        (lambda: VIDEO.save(3), "Video.save: path must be a path or a list of paths, found 3."),
        (lambda: VIDEO.save("a.mp4", bit=8), "Video.save has no argument 'bit': did you mean bits"),
        (lambda: VIDEO.draw(3), "Video.draw: frame must be a Frame, found 3."),
        (
            lambda: VIDEO.stream.window("a", 3),
            "window: centre must be a whole number, found the te",
        ),
        (lambda: Camera(light_scale=0.5).expose(3), "Camera.expose: intensity must be a tensor"),
    ],
)
def test_an_error_says_what_was_expected_and_found(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert message in str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


def test_numbers_of_numpy_and_whole_floats_are_numbers() -> None:
    network = Fast(window=np.int64(41), channels=np.array([8, 16]), output_scale=np.float32(0.5))
    assert (network.window, type(network.window), network.output_scale) == (41, int, 0.5)
    assert describe(network, "network")["channels"] == [8, 16]
    assert describe(TFP(window=3e1 + 1), "it") == describe(TFP(window=31), "it")


def test_a_configuration_puts_its_key_before_the_argument() -> None:
    for stated, message in (
        ({"window": "a"}, "model.window must be a whole number, found the text 'a'."),
        ({"widow": 1}, "model: TFP has no argument 'widow': did you mean window?"),
    ):
        with pytest.raises(ArgumentError) as caught:
            make({"_target_": "spikerec.models.tfp.TFP", **stated}, None, "model", config_dir())
        assert str(caught.value) == message


def test_a_class_of_the_users_own_takes_what_it_likes() -> None:
    class Mine(Network):
        def __init__(self, window: int = 3, width: int = 2) -> None:
            super().__init__(window)
            self.width = width

        def forward(self, spikes: Any) -> Any:
            return spikes

    assert Mine(width="wide").width == "wide"  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"Mine: window must be a whole number"):
        Mine(window="wide")  # type: ignore[arg-type]


PLAIN = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary()),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(PLAIN)
@pytest.mark.parametrize(
    "annotation",
    [
        *(int, float, bool, str, Path, str | Path, int | None, Literal["a", "b"], float | None),
        *(Sequence[int], tuple[int, int], tuple[float, ...], Mapping[str, float]),
        *(str | Sequence[str], float | Literal["auto"] | None),
    ],
    ids=str,
)
def test_what_a_kind_takes_is_of_the_kind_and_all_else_is_refused(
    annotation: Any,
    value: object,
) -> None:
    @checked
    def same(it: object) -> object:
        return it

    same._call.function.__annotations__["it"] = annotation
    same._call.function.__module__ = "spikerec"
    try:
        taken = same(value)
    except ArgumentError as error:
        assert str(error).startswith(f"{same.__qualname__}: it")  # noqa: PT017
    else:
        assert same(taken) == taken
        assert taken == value or isinstance(taken, Path) or list(taken) == list(value)


def test_checking_takes_few_calls() -> None:
    """Objects are made by the thousand, so that a check may not grow into a walk."""
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    Blocks(3, 1, 2)  # the first one reads the annotations
    sys.setprofile(count)
    try:
        Blocks(3, 1, 2)
    finally:
        sys.setprofile(None)
    assert 0 < calls < 50
