"""Records whose every text tries to leave its place on a page, in a table or in a spreadsheet."""

from __future__ import annotations

from typing import Any

from spikerec.results import DatasetInfo, ProtocolInfo, Record, Samples, WeightsInfo

#: Hostile contents of a text; `MARK` finds it again.
#: U+2028 ends a line of JavaScript, U+202E turns text.
MARK = "qz"
TEXTS = {
    "script": f"<script>window.{MARK}=1</script>",
    "end of a script": f"</script><img src=x onerror=window.{MARK}=1>",
    "comment": f"<!--<script>{MARK}",
    "quotes": f'"\'`{MARK}" onmouseover="window.{MARK}=1',
    "address": f"javascript:window.{MARK}=1",
    "marks": f"{MARK}\u2028\u2029\u202e\u2066\u200f\x1b[2J\0",
    "formula": f'=HYPERLINK("http://{MARK}")',
    "inherited name": "constructor",
    "prototype": "__proto__",
    "long": MARK + "W" * 10_000,
}


def hostile_record(text: str, number: int = 0) -> Record:
    """A record that has a text in every place which takes one, cut to what the place may hold."""
    name = "".join(c for c in text if c.isprintable())[:100]
    label, key = text[:200], text[:500]
    metric = {"metric": name, "arguments": {text: text}, "higher_is_better": True}
    missing = f"{name[:90]} none"
    about: dict[str, Any] = {text: {text: [text]}}
    return Record(
        method=name,
        label=label,
        weights=WeightsInfo(f"{number:064x}", label, label, label),
        dataset=DatasetInfo(name, name, label, 4, True, 0.4),
        protocol=ProtocolInfo(
            name,
            label,
            {"clip": text, "metrics": {name: metric}, "statement": {"quirks": text}},
        ),
        samples=Samples(
            (key, "a/1", "b/1", "c/1"),
            {name: [1.0 + number, 2.0, 3.0, None], missing: [None] * 4},
            {name: True, missing: False},
        ),
        unavailable={"psnr": text},
        undefined={name: text, missing: text},
        efficiency={
            "size": [720, 1280],
            "params": 5,
            "latency": [{"size": [1, 2], "median_ms": 1.0, "device": label}],
        },
        training={
            **{"data": [text], "samples": 5, "seconds": 5.0, "machine": text, "crop": [text]},
            "budget": {"seconds": 5.0, "clock": text, "machine": text},
            "curve": {
                **{"clock": "wall", "is_measured": False},
                **{"samples": [1, 2], "seconds": [1.0, 2.0], "psnr": [20.0, 21.0]},
                "validation": {"sets": [text], "samples": 1, "digest": text},
            },
        },
        config=about,
        code={"version": text, "revision": text},
        environment=about,
        images={key: {"prediction": "p.png", name: "q.png", "target": "t.png"}},
    )
