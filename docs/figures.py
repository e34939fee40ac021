"""The picture of the camera's principle in docs/concepts.md: `python docs/figures.py` draws it.

It is drawn without a library, so that it is the same on every machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: Light that a pixel sees, in thresholds a readout: dim, then bright.
LIGHT = [0.18] * 18 + [0.55] * 18
THRESHOLD = 1.0

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT = 96, 24  # margins


@dataclass(frozen=True)
class Theme:
    """Colours of a picture."""

    ink: str
    muted: str
    light: str
    charge: str
    spike: str


THEMES = {
    "light": Theme("#1f2430", "#6b7280", "#c27803", "#1d4ed8", "#b91c1c"),
    "dark": Theme("#e5e7eb", "#9ca3af", "#f5b942", "#7aa2ff", "#ff7b7b"),
}


def simulate() -> tuple[list[tuple[float, float]], list[int]]:
    """The charge over time as corners (t, charge), and the bit of each readout.

    A pixel integrates its light. At a readout whose charge has reached the threshold it fires and
    keeps what lies above.
    """
    corners, bits, charge = [(0.0, 0.0)], [], 0.0
    for t, light in enumerate(LIGHT, 1):
        charge += light
        corners.append((t, charge))
        bits.append(int(charge >= THRESHOLD - 1e-9))
        if bits[-1]:
            charge -= THRESHOLD
            corners.append((t, charge))
    return corners, bits


def draw(theme: Theme) -> str:
    """Return the picture as SVG."""
    step = (WIDTH - LEFT - RIGHT) / len(LIGHT)
    corners, bits = simulate()

    def x(t: float) -> float:
        return LEFT + step * t

    def line(points: list[tuple[float, float]], colour: str, extra: str = "") -> str:
        places = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        style = f'fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"'
        return f'<polyline points="{places}" {style} {extra}/>'

    def text(a: float, b: float, words: str, colour: str, anchor: str = "start") -> str:
        return (
            f'<text x="{a:.1f}" y="{b:.1f}" fill="{colour}" text-anchor="{anchor}">{words}</text>'
        )

    light = [(x(t + edge), 90 - 90 * value) for t, value in enumerate(LIGHT) for edge in (0, 1)]
    charge = [(x(t), 250 - 78 * value) for t, value in corners]
    parts = [
        text(LEFT - 14, 72, "light", theme.light, "end"),
        line(light, theme.light),
        text(x(9), 62, "dim", theme.muted, "middle"),
        text(x(27), 28, "bright", theme.muted, "middle"),
        text(LEFT - 14, 215, "charge", theme.charge, "end"),
        line([(x(0), 172), (x(len(LIGHT)), 172)], theme.muted, 'stroke-dasharray="5 4"'),
        text(LEFT - 14, 177, "threshold θ", theme.muted, "end"),
        line(charge, theme.charge),
        text(x(0.4), 272, "1 integrate", theme.muted),
        text(x(5.2), 152, "2 reach θ: fire", theme.muted),
        text(x(6.5), 272, "3 reset: subtract θ", theme.muted),
        text(x(19), 302, "4 read out: one bit at each readout", theme.muted),
        text(LEFT - 14, 330, "readouts", theme.spike, "end"),
    ]
    for t, bit in enumerate(bits, 1):
        fill = theme.spike if bit else "none"
        parts.append(
            f'<circle cx="{x(t):.1f}" cy="325" r="6" fill="{fill}" stroke="{theme.spike}" '
            'stroke-width="1.5"/>'
        )
        parts.append(text(x(t), 353, str(bit), theme.ink if bit else theme.muted, "middle"))
    dim, bright = bits[:18], bits[18:]
    parts += [
        text(x(9.5), 388, f"{sum(dim)} spikes in 18 readouts", theme.ink, "middle"),
        text(x(27.5), 388, f"{sum(bright)} spikes in 18 readouts", theme.ink, "middle"),
    ]
    label = "A pixel integrates light, fires when its charge reaches the threshold, and resets"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{label}" font-family="system-ui, sans-serif" font-size="14">'
    )
    return "\n".join([head, *parts, "</svg>", ""])


if __name__ == "__main__":
    folder = Path(__file__).parent / "_static"
    for name, theme in THEMES.items():
        (folder / f"principle-{name}.svg").write_text(draw(theme), encoding="utf-8")
