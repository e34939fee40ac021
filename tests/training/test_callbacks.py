"""Pictures of validation samples, with their captions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

import spikerec
from spikerec.models import Fast, Network
from spikerec.streaming import panels
from spikerec.training.callbacks import LEAST_WIDTH, captioned_strip


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are drawn, in order."""
    texts: list[str] = []
    draw = panels._text

    def noted(text: str, height: int, width: int) -> object:
        texts.append(text)
        return draw(text, height, width)

    monkeypatch.setattr(panels, "_text", noted)
    return texts


def pictures(height: int, width: int) -> dict[str, torch.Tensor]:
    image = torch.linspace(0, 1, height * width).reshape(1, 1, height, width)
    return {"tfp": image, "prediction": image, "target": image}


def test_a_strip_names_the_methods_and_the_sample(drawn: list[str]) -> None:
    network: Network = spikerec.load("fast_wide")
    strip = captioned_strip(network, pictures(250, 400), "reds: a/150", tfp_window=21)
    assert drawn == ["TFP (21)", "Fast (wide)", "truth", "reds: a/150"]
    above, below = (len(strip) - 250) // 2, 250
    assert strip.dtype == np.uint8
    assert strip.shape[1] == 3 * 400 + 4
    assert strip[:above, :400].max() == 255  # letters
    assert strip[:above, 400:800].max() == 255
    assert strip[above + below :].max() == 255
    np.testing.assert_array_equal(
        strip[above : above + 250, :400], strip[above : above + 250, -400:]
    )


def test_pictures_too_small_for_a_label_are_enlarged_pixel_by_pixel(drawn: list[str]) -> None:
    strip = captioned_strip(Fast(), pictures(24, 40), "a", tfp_window=99)
    assert drawn[0] == f"TFP ({Fast().window})"
    factor = LEAST_WIDTH // 40
    above = (len(strip) - 24 * factor) // 2
    first = strip[above : above + 24 * factor, : 40 * factor]
    np.testing.assert_array_equal(
        first, first[::factor, ::factor].repeat(factor, 0).repeat(factor, 1)
    )


@pytest.mark.parametrize("text", ["SSIR", "TFP (21)", "gÄ", "reds: 200_part1/150 · PSNR 27.25 dB"])
@pytest.mark.parametrize("height", [16, 19, 20, 64])
def test_letters_are_whole(text: str, height: int) -> None:
    line = panels._text(text, height, 3000)
    with_room = Image.new("L", (3000, 3 * height))
    font = ImageFont.load_default(height - 4)
    ImageDraw.Draw(with_room).text((10, height), text, fill=255, font=font)
    expected, found = (int((one.max(1) > 0).sum()) for one in (np.asarray(with_room), line))
    assert found == expected
