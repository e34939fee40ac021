"""The site of docs/ is built without a warning, and its examples run."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("plot_*.py"))

pytest.importorskip("sphinx_gallery", reason="needs pip install 'spikerec[docs]'")


def build(folder: Path, *options: str) -> Path:
    """Build a copy of docs/, so that nothing is written into the tree; the folder of pages."""
    card = Path("src/spikerec/weights/shipped/README.md")
    (folder / card).parent.mkdir(parents=True)
    for name in ("CHANGELOG.md", "README.md", "SECURITY.md", card):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    built = shutil.ignore_patterns("_build", "gallery", "spikerec*.rst", "sg_*.rst")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=built)
    words = ["-W", "--keep-going", "-q", "-b", "html", *options]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, folder / "docs", folder / "html"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    html = build(tmp_path, "-D", "plot_gallery=0")
    assert "SpikeStream" in (html / "reference" / "spikerec.spikes.html").read_text()
    home = (html / "index.html").read_text()
    assert all(f"{page}.html" in home for page in ("installation", "concepts", "extending"))


def test_the_camera_s_picture_is_the_one_that_is_drawn() -> None:
    figures = runpy.run_path(str(ROOT / "docs" / "figures.py"))
    for name, theme in figures["THEMES"].items():
        drawn = (ROOT / "docs" / "_static" / f"principle-{name}.svg").read_text(encoding="utf-8")
        assert figures["draw"](theme) == drawn


@pytest.mark.slow
def test_the_gallery_is_built_without_a_warning(tmp_path: Path) -> None:
    html = build(tmp_path)
    pictures = {path.name for path in (html / "_images").glob("sphx_glr_plot_*_001*.png")}
    assert all(any(example.stem in name for name in pictures) for example in EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")  # Lightning 2.6 with PyTorch 2.15
@pytest.mark.filterwarnings("ignore:FigureCanvasAgg is non-interactive")
@pytest.mark.filterwarnings("ignore:__array__ implementation")  # Matplotlib reads tensors
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
def test_example_runs(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.use("Agg")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    figures = plt.get_fignums()
    plt.close("all")
    assert figures, "an example shows a picture"
