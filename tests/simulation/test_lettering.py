"""Lines of text as objects of scenes."""

from __future__ import annotations

import torch

from spikerec.simulation import RandomScene, SceneStyle
from spikerec.simulation.layers import JointedPath
from spikerec.simulation.lettering import lettered


def test_bare_letters_have_one_intensity_and_their_own_outline() -> None:
    intensity, opacity = lettered("Hi", 40, ink=0.7, paper=None)
    assert (intensity == 0.7).all()
    assert opacity.max() == 1
    assert 0.05 < opacity.mean() < 0.5
    assert opacity[[0, -1]].max() == opacity[:, [0, -1]].max() == 0
    # The upright of an H is lit over the height of a capital; there is a gap beside it.
    column = (opacity > 0.5).sum(0)
    assert column.max() > 20


def test_a_sign_bears_its_letters() -> None:
    intensity, opacity = lettered("Hi", 40, ink=0.9, paper=0.2)
    bare = lettered("Hi", 40, ink=0.9, paper=None)[1]
    torch.testing.assert_close(intensity, 0.2 + 0.7 * bare)
    assert opacity[2:-2, 2:-2].min() == 1
    assert opacity[:2].max() == 0


def test_letters_grow_with_their_size() -> None:
    small, large = (lettered("spike", size, ink=1.0, paper=None)[1] for size in (20, 60))
    assert 6 < large.sum() / small.sum() < 12


def test_text_moves_as_the_object_in_its_place_and_has_no_limbs() -> None:
    images = [torch.full((64, 64), 0.5), torch.rand(64, 64)]

    def scene(**style: object) -> RandomScene:
        given = {"objects": (2, 2), "limbs": 1.0, "object_motion": (20.0, 40.0)} | style
        return RandomScene(images, height=64, width=64, seed=2, style=SceneStyle(**given))

    plain, text = scene(), scene(text=1.0)
    bodies = [one.path for one in plain.layers if not isinstance(one.path, JointedPath)]
    assert [one.path.x.offset for one in text.layers] == [one.x.offset for one in bodies]
    assert len(text.layers) == 3 < len(plain.layers)
    assert text.frames(0, 1).std() > 0
