"""Tubes as ribbons over a time axis, as SVG text."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, ROW, PAD = 320, 18, 8
COLOURS = {"truth": "#27c4f5", "found": "#ff7a1a"}


@dataclass(frozen=True)
class Ribbon:
    """A stretch of frames, both ends included, with a colour (of ``COLOURS``, or CSS) and a text shown on hover."""

    first: float
    last: float
    colour: str
    text: str


def ribbons_svg(ribbons: Sequence[Ribbon], end: float, unit: str = "frame") -> str:
    """Draw one ribbon per row over an axis from the first frame (1) to ``end``."""
    span = max(end, 1)
    scale = (WIDTH - 2 * PAD) / span
    body = ""
    for row, ribbon in enumerate(ribbons):
        x = PAD + (ribbon.first - 1) * scale
        width = max((ribbon.last - ribbon.first + 1) * scale, 2)
        colour = COLOURS.get(ribbon.colour, ribbon.colour)
        body += (
            f'<rect x="{x:.1f}" y="{PAD + row * ROW}" width="{width:.1f}" height="{ROW - 5}" rx="3" '
            f'fill="{html.escape(colour)}"><title>{html.escape(ribbon.text)}</title></rect>'
        )
    base = PAD + len(ribbons) * ROW
    return (
        f'<svg style="width:100%" viewBox="0 0 {WIDTH} {base + 18}" role="img" aria-label="time axis">{body}'
        f'<path class="axis" d="M{PAD} {base}H{WIDTH - PAD}"/><text x="{PAD}" y="{base + 13}">1</text>'
        f'<text x="{WIDTH - PAD}" y="{base + 13}" text-anchor="end">{unit} {end:g}</text></svg>'
    )
