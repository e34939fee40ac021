"""The page docs/zoo.md: every method, its paper, size, cost, weights and records.

    python -m benchmarks.zoo

It is made of `conf/model`, of the catalogue of published weights and of the records in
docs/leaderboard, and holds nothing that is written by hand but its introduction.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from spikerec.configs import build, config_dir, config_names
from spikerec.models.base import Network
from spikerec.results import Record, read_record
from spikerec.weights.named import NetworkWeights, networks
from spikerec.weights.shipped import shipped_weights

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "zoo.md"
RECORDS = ROOT / "docs" / "leaderboard"

INTRODUCTION = """# Models and their weights

Every method that comes with spikerec. On the command line `model=` takes the names of the first
column and `weights=` those of the column of weights; so does `spikerec.load` in Python. A name is a
file of `conf/model` and a module of `spikerec.models`, which cites the paper. With the
published weights, every published network computes the numbers of its authors' code; the folder
`tests/golden` holds the test cases.
"""

COSTS = """
Multiply-accumulates (MACs) are those of one image of 720 × 1280, as measured for the leaderboard; a
dash marks a method without a record there. The last column is the best PSNR of the method's
records on the public REDS pairs under the protocol `stir` (three samples). Most of these
networks were trained here, for minutes, so that the figures are no ranking of the papers: the
leaderboard states the training of each record's weights. `python -m benchmarks.zoo` makes this
page from `conf/model`, the catalogue of published weights and the records in `docs/leaderboard`.
"""

QUALITY = """
## Measured quality

```{include} ../README.md
:start-after: <!-- results -->
:end-before: <!-- end of results -->
```

Three samples are too few for a significant lead. The records behind this table, and those of the
published networks trained on one small budget, are in `docs/leaderboard` of the repository:
`spikerec leaderboard results=docs/leaderboard` shows them.

## The weights that ship

```{include} ../src/spikerec/weights/shipped/README.md
:start-line: 1
:heading-offset: 1
```
"""

WEIGHTS = """
## Published weights

None of these files is part of spikerec. `spikerec weights fetch stir/spikezoo` downloads one from
its owners; `model=stir weights=spikezoo` of any command, and
`spikerec.load("stir", weights="spikezoo")`, ask for consent first. In a script, set
`SPIKEREC_DOWNLOAD=1` to consent. To use a file that you downloaded by hand:
`spikerec weights import FILE --model stir --weights spikezoo`. `SPIKEREC_MIRROR` names a prefix
for machines that reach the host only through a mirror.

An entry that is *unseen* was never downloaded by us: its size and digest are not known, and its
layout is the one that its owners' code writes. The first download prints the digest and stores it;
later downloads must match it.
"""


def page() -> str:
    """The page's text."""
    lines = ["| model | method and paper | parameters | MACs | weights | PSNR |"]
    lines += ["|---|---|---|---|---|---|"]
    records = [read_record(path) for path in sorted(RECORDS.glob("*.json"))]
    lines += [_method(name, records) for name in config_names("model")]
    rows = ["| weights | trained on | light scale | licence | file | state |"]
    rows += ["|---|---|---|---|---|---|", *map(_weights, networks())]
    parts = (INTRODUCTION, *lines, COSTS, QUALITY, WEIGHTS, *rows)
    return "\n".join(parts) + "\n"


def _method(name: str, records: Sequence[Record]) -> str:
    network: Network = build("model", name)
    count = sum(parameter.numel() for parameter in network.parameters())
    own = [record for record in records if record.method == name]
    cells = (
        f"`{name}`",
        _paper(name),
        f"{count:,}" if count else "none",
        _macs(own),
        ", ".join(_names(name, network)) or ("–" if count else "needs none"),
        _figure(own),
    )
    return f"| {' | '.join(cells)} |"


def _paper(name: str) -> str:
    """The first sentence of the comment at the head of the model's YAML."""
    text = (config_dir() / "model" / f"{name}.yaml").read_text(encoding="utf-8")
    comments = [line[2:] for line in text.splitlines() if line.startswith("# ")]
    whole = " ".join(comments)
    # a sentence ends before a capital, and not after the "et al." of its authors
    sentence = re.split(r"(?<!al)\.\s+(?=[A-Z])", whole)[0].rstrip(".")
    return sentence.replace("|", "\\|")


def _names(name: str, network: Network) -> Iterator[str]:
    if shipped_weights(network) is not None:
        yield "come with spikerec"
    yield from (f"`{one.weights}`" for one in networks() if one.model == name)


def _macs(records: Sequence[Record]) -> str:
    found = [one.efficiency for one in records if one.efficiency]
    for cost in found:
        if cost.get("size") == [720, 1280] and cost.get("macs") is not None:
            return f"{cost['macs'] / 1e9:,.1f} G"
    return "–"


def _figure(records: Sequence[Record]) -> str:
    """The best PSNR of the method's records."""
    means = [
        mean
        for one in records
        if (one.protocol.name, one.dataset.name) == ("stir", "reds")
        and (mean := one.mean("psnr")) is not None
    ]
    return f"{max(means):.2f}" if means else "–"


def _weights(entry: NetworkWeights) -> str:
    if entry.url is None:
        file, state = entry.by_hand or "", "by hand"
    else:
        file = f"[{entry.url.rsplit('/', maxsplit=1)[-1]}]({entry.url})"
        state = f"SHA-256 {entry.sha256[:12]}…" if entry.sha256 else "unseen"
    scale = "–" if entry.light_scale is None else f"{entry.light_scale:g}"
    cells = (f"`{entry.name}`", entry.trained, scale, entry.licence, file, state)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
