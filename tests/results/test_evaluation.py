"""Evaluation as a notebook calls it, on fake data."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import Parameter

from spikerec.configs import build
from spikerec.data import SpikeDataModule
from spikerec.data.clips import Clip, SpikeSet, SplitName
from spikerec.data.real import Real
from spikerec.data.reds import REDS
from spikerec.errors import ConfigError, InputError
from spikerec.metrics import BRISQUE, NIQE, PSNR, SSIM, Protocol
from spikerec.models.base import Network, Reconstruction
from spikerec.results import Store, read_record
from spikerec.results.boards import gather
from spikerec.results.evaluation import evaluate
from tests.end_to_end.command import Command
from tests.fakes import fake_reds, fake_spikes, write_dat, write_image


def _protocol(**metrics: object) -> Protocol:
    return Protocol("own", metrics, clip=True, border=0, rounding="none")  # type: ignore[arg-type]


def _data(spike_set: SpikeSet, window: int = 11, margin: int = 20) -> SpikeDataModule:
    return SpikeDataModule(
        {spike_set.name: spike_set},
        window=window,
        batch_size=2,
        crop=[16, 16],
        augment="none",
        samples_per_epoch=None,
        margin=margin,
        num_workers=0,
        seed=0,
        val_samples=None,
        repeat_epoch=False,
    )


def _reds(folder: Path) -> SpikeDataModule:
    fake_reds(folder / "reds", num_readouts=81)
    return _data(REDS(folder / "reds", height=24, width=40, light_scale=0.6))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (Protocol("corrected", {"psnr": PSNR}, alignment="gain"), "alignment is 'gain'"),
        (Protocol("cropped", {"psnr": PSNR}), "border is 0, but 8 in the protocol"),
        (Protocol("stir", {"lpips": partial(PSNR)}), "metrics.lpips"),
    ],
)
def test_a_changed_protocol_needs_another_name(
    changed: Protocol, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=f"{message}.*name={changed.name}_changed"):
        evaluate(build("model", "tfp", window=11), _reds(tmp_path), changed)


class _Stating(REDS):
    """REDS whose clips state a covariate of a metric's name."""

    def clips(self, split: SplitName) -> list[Clip]:
        return [replace(clip, covariates={"psnr": 1.0}) for clip in super().clips(split)]


def test_a_covariate_of_a_metric_s_name_is_refused_at_once(tmp_path: Path) -> None:
    fake_reds(tmp_path / "reds", num_readouts=81)
    data = _data(_Stating(tmp_path / "reds", height=24, width=40, light_scale=0.6))
    message = "clip .* states psnr of its samples, which is the name of a metric"
    with pytest.raises(ConfigError, match=message):
        evaluate(build("model", "tfp", window=11), data, _protocol(psnr=PSNR), efficiency=None)


def test_a_changed_set_has_the_name_that_it_is_given(tmp_path: Path) -> None:
    fake_reds(tmp_path / "reds", num_readouts=81)
    data = REDS(tmp_path / "reds", height=24, width=40, light_scale=0.6, name="mine")
    module = SpikeDataModule({"reds": data}, window=11, crop=(16, 16))
    (record,) = evaluate(
        build("model", "tfp", window=11), module, _protocol(psnr=PSNR), efficiency=None
    )
    assert record.dataset.name == "mine"


def test_a_notebook_evaluates_with_objects_alone(tmp_path: Path) -> None:
    network = build("model", "tfp", window=11)
    protocol = _protocol(psnr=PSNR, ssim=SSIM)
    told = []
    (record,) = evaluate(
        network,
        _reds(tmp_path),
        protocol,
        tmp_path / "results",
        label="Fast, mine (λ=0.1)",
        save_images=1,
        efficiency=None,
        report=lambda record, path, pictures: told.append((record.label, path, pictures.keys)),
    )
    ((label, path, keys),) = told
    assert read_record(path).content == record.content
    assert label == "Fast, mine (λ=0.1)"
    assert record.method == "tfp"
    assert record.weights.origin == ""
    assert len(record.samples.keys) == 3
    assert set(record.images) == keys
    for roles in record.images.values():
        assert set(roles) == {"prediction", "target", "tfp"}
        assert all((tmp_path / "results" / image).exists() for image in roles.values())


def test_a_method_of_any_text_has_its_pictures_in_one_folder(tmp_path: Path) -> None:
    network, protocol = build("model", "tfp", window=11), _protocol(psnr=PSNR)
    options = {"method": "a b/../c", "save_images": 1, "efficiency": None}
    (record,) = evaluate(network, _reds(tmp_path), protocol, tmp_path / "results", **options)
    assert record.method == "a b/../c"
    (folder,) = (tmp_path / "results" / "images").iterdir()
    assert folder.name.startswith("a_b_.._c-reds-")


@pytest.mark.filterwarnings("ignore")  # Lightning's, of a trainer of one's own
@pytest.mark.parametrize("is_wanted", [True, False])
def test_an_evaluation_into_a_log_says_where_it_is(
    is_wanted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("spikerec.training.pace.LINE_SECONDS", 0.0)
    caplog.set_level("INFO", "spikerec")
    trainer = L.Trainer(
        **{"accelerator": "cpu", "logger": False, "enable_model_summary": False},  # type: ignore[arg-type]
        enable_progress_bar=is_wanted,
    )
    network, protocol = build("model", "tfp", window=11), _protocol(psnr=PSNR)
    evaluate(network, _reds(tmp_path), protocol, trainer=trainer, efficiency=None)
    lines = [line for line in caplog.messages if line.startswith("reds: batch")]
    assert lines == ([f"reds: batch {k} of 3" for k in (1, 2, 3)] if is_wanted else [])


def test_a_record_says_how_much_of_each_sample_was_mirrored(tmp_path: Path) -> None:
    fake_reds(tmp_path / "reds", num_readouts=41)
    data = _data(REDS(tmp_path / "reds", height=24, width=40, light_scale=0.6), 61, margin=0)
    network = build("model", "tfp", window=61)
    (record,) = evaluate(network, data, _protocol(psnr=PSNR), tmp_path / "results")
    assert record.samples.mirrored == (20, 20, 20)
    assert record.dataset.margin == 0


def test_a_label_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"label must be text or None, found 3\.1"):
        evaluate(
            build("model", "tfp", window=11),
            _reds(tmp_path),
            _protocol(psnr=PSNR),
            tmp_path,
            efficiency=None,
            label=3.1,  # type: ignore[arg-type]
        )


def test_another_split_or_kind_of_network_is_refused(tmp_path: Path) -> None:
    network = build("model", "tfp", window=11)
    data = REDS(tmp_path)
    with pytest.raises(ConfigError, match="split must be train, val or test, found"):
        evaluate(network, data, split="trian")
    with pytest.raises(ConfigError, match=r"network must be a Network, found the text 'tfp': load"):
        evaluate("tfp", data)  # type: ignore[call-overload]


class _Broken(Network):
    """Gives values that are not finite for one sample of the set."""

    def __init__(self, value: float) -> None:
        super().__init__(11)
        self.value = value
        self.seen = 0

    def forward(self, spikes: Tensor) -> Reconstruction:
        image = spikes.float().mean(dim=1, keepdim=True)
        self.seen += 1
        if self.seen == 2:
            image[..., 3, 4] = self.value
        return Reconstruction(image)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_that_is_not_finite_never_becomes_a_number(tmp_path: Path, value: float) -> None:
    with pytest.raises(InputError, match=r"sample '201_part1_key_id41/40': 1 of the image's 960"):
        evaluate(
            _Broken(value),
            _reds(tmp_path),
            _protocol(psnr=PSNR),
            tmp_path / "results",
            efficiency=None,
        )
    assert not list((tmp_path / "results").glob("*.json"))


@pytest.fixture
def dark(tmp_path: Path) -> Path:
    """A folder of recordings: one of a scene, one without any spike."""
    shape = (192, 192)
    stream = fake_spikes(81, *shape)
    write_dat(tmp_path / "real" / "light.dat", stream)
    write_dat(tmp_path / "real" / "dark.dat", np.zeros_like(stream))
    return tmp_path / "real"


def test_a_dark_clip_has_no_blind_score_and_the_record_says_why(tmp_path: Path, dark: Path) -> None:
    real = Real(dark, light_scale=1.0, key_stride=40, height=192, width=192)
    data = _data(real)
    protocol = _protocol(niqe=NIQE, brisque=BRISQUE)
    if protocol.unavailable:
        pytest.skip("needs the weights of NIQE and BRISQUE: spikerec weights fetch")
    network, folder = build("model", "tfp", window=11), tmp_path / "results"
    (record,) = evaluate(network, data, protocol, folder, efficiency=None)
    is_dark = np.array([key.startswith("dark") for key in record.samples.keys])
    assert is_dark.any()
    for metric in ("niqe", "brisque"):
        assert (np.isnan(record.column(metric)) == is_dark).all()
        assert "images without texture" in record.undefined[metric]
    content = read_record(next((tmp_path / "results").glob("*.json"))).content
    assert content["samples"]["values"]["brisque"].count(None) == is_dark.sum()


def test_the_command_ends_well_on_a_dark_clip(
    tmp_path: Path,
    dark: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = Command(tmp_path, monkeypatch, capsys)
    words = [f"data.sets.real.root={dark}", "data.sets.real.height=192", "data.sets.real.width=192"]
    words += ["efficiency=null", "save_images=0", "trainer.enable_progress_bar=false"]
    outcome = command("evaluate", "model=tfp", "model.window=11", "data=real", *words)
    assert outcome.status == 0, outcome.err
    assert "record: " in outcome.out
    (path,) = (tmp_path / "outputs/results").glob("*.json")
    record = read_record(path)
    assert record.protocol.name == "corrected"
    if "brisque" in record.samples.values:
        assert "samples have a value. brisque is not defined for images" in outcome.out


def test_a_clock_set_back_makes_no_old_record_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = _reds(tmp_path)
    network = build("model", "tfp", window=11)
    where = tmp_path / "results"
    evaluate_ = partial(evaluate, network, data, _protocol(psnr=PSNR), where, efficiency=None)
    (first,) = evaluate_()
    _set_clock(monkeypatch, "2001-01-01T00:00:00+00:00")
    (second,) = evaluate_()
    assert second.created > first.created
    (third,) = evaluate_()
    (board,), _ = gather(Store(tmp_path / "results").scan())
    (row,) = board.rows.values()
    assert row.count == 3
    assert row.record.id == third.id


def _set_clock(monkeypatch: pytest.MonkeyPatch, time: str) -> None:
    import datetime

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
            return datetime.datetime.fromisoformat(time).astimezone(tz)

    monkeypatch.setattr("spikerec.results.store.datetime", Clock)


def test_times_follow_only_records_of_the_same_method_and_data(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name in ("tfp-reds-stir-20990101T000000000000-abc.json", "tfp-reds-x.json", "other"):
        (tmp_path / name).touch()
    assert store.now("tfp", "reds") == "2099-01-01T00:00:00.000001+00:00"
    assert store.now("tfp", "sreds") < "2099"
    assert store.now("tf", "reds") < "2099"


class Scaled(Network):
    def __init__(self) -> None:
        super().__init__(window=11, output_scale=1.0)
        self.gain = Parameter(torch.ones(1))

    def forward(self, spikes: Tensor) -> Reconstruction:
        return Reconstruction(self.gain * spikes.float().mean(1, keepdim=True))


class Squared(Scaled):
    def forward(self, spikes: Tensor) -> Reconstruction:
        return Reconstruction(super().forward(spikes).image ** 2)


def test_networks_of_equal_weights_are_rows_of_their_own(tmp_path: Path) -> None:
    data, protocol = _reds(tmp_path), _protocol(psnr=PSNR)
    changed = Scaled()
    changed.power = 3.0  # type: ignore[assignment]
    records = [
        evaluate(network, data, protocol, efficiency=None)[0]
        for network in (Scaled(), Squared(), changed, Scaled())
    ]
    assert len({record.weights.digest for record in records}) == 1
    loaded = Scaled()
    loaded.load_state_dict(Scaled().state_dict())
    records += evaluate(loaded, data, protocol, efficiency=None)
    (board,), problems = gather(records)
    assert (len(board.rows), problems) == (3, [])


def test_what_changed_is_scored_again(tmp_path: Path) -> None:
    data, protocol = _reds(tmp_path), _protocol(psnr=PSNR)

    def scored(network: Network) -> int:
        return len(
            evaluate(network, data, protocol, tmp_path / "out", efficiency=None, again=False)
        )

    assert [scored(one()) for one in (Scaled, Scaled, Squared, Squared)] == [1, 0, 1, 0]
    truth = min((tmp_path / "reds" / "test").rglob("*.png"))
    write_image(truth, 255 - np.asarray(Image.open(truth)))
    assert [scored(one()) for one in (Scaled, Scaled)] == [1, 0]
    newest = max(Store(tmp_path / "out").read_all().records, key=lambda record: record.created)
    fresh = evaluate(Scaled(), data, protocol, efficiency=None)[0]
    np.testing.assert_array_equal(newest.samples.values["psnr"], fresh.samples.values["psnr"])
