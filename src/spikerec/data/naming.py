"""Names of clips, which the results know too; nothing here needs PyTorch, so they load fast."""

from __future__ import annotations

import re


def scene_of(clip: str) -> str:
    """The name of the scene that a clip shows.

    A clip named `SCENE@RECORDING` is one of several recordings of a scene, and `SCENE_part1` one of
    the parts of a video. Folders in front of the name belong to it as they are.

    Example:
        >>> scene_of("03@motion=2"), scene_of("200_part1_key_id151"), scene_of("me@lab/car@night")
        ('03', '200', 'me@lab/car')
    """
    folder, slash, name = clip.rpartition("/")
    scene = re.split(r"@|_part\d+", name, maxsplit=1)[0]
    return f"{folder}{slash}{scene or name}"
