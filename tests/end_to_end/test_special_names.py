"""Names of any letters and signs, of inputs and outputs, in the verbs beside `reconstruct`."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from spikerec import spikes
from spikerec.spikes import Geometry, sidecar_path
from tests.end_to_end.command import Command
from tests.fakes import fake_image, fake_spikes

#: Stems that a shell hands over, and that a grammar, a pattern or markup may read otherwise.
STEMS = (
    *(
        "数据/车",
        "[a]",
        "a,b",
        "a=b",
        'it\'s "q"',
        "back\\s",
        "new\nline",
        "$HOME",
        "-x",
        "*",
        "~t",
    ),
    *("[bold]x[/]", "null", "1e3", "a b c", "{a: 1}", "a#b", "x" * 200),
)


@pytest.mark.parametrize("stem", STEMS)
def test_files_are_found_and_written_by_their_names(stem: str, spikerec_command: Command) -> None:
    run, folder = spikerec_command, spikerec_command.folder
    stream, picture = folder / f"{stem}.dat", folder / f"{stem}.png"
    stream.parent.mkdir(exist_ok=True)
    spikes.save(stream, fake_spikes(70, 8, 8), geometry=Geometry(8, 8))
    sidecar_path(stream).unlink()
    Image.fromarray(fake_image(20, 24)).save(picture)

    def written(path: Path, *words: str) -> None:
        outcome = run(*words)
        assert (outcome.status, outcome.err) == (0, "")
        assert path.exists()

    prefix = "./" if stem.startswith("-") else ""
    name = prefix + stem
    written(sidecar_path(stream), "data", "import", f"{name}.dat", "--height=8", "--width=8")
    written(folder / f"{stem}_o.png", "data", "inspect", f"{name}.dat", f"--output={stem}_o.png")
    settings = ("images=1", "size=[8,8]", "readouts_per_image=2")
    written(folder / f"{stem}_o.dat", "simulate", f"{name}.png", f"{name}_o.dat", *settings)
    given = (f"input={stem}.png", f"output={stem}_o.npy")
    written(folder / f"{stem}_o.npy", "simulate", *given, *settings)
