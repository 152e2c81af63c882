"""Tubes as ribbons over a time axis, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment
from markupsafe import Markup

WIDTH, ROW, PAD = 320, 18, 8
COLOURS = {"truth": "#27c4f5", "found": "#ff7a1a"}


@dataclass(frozen=True)
class Ribbon:
    """A stretch of frames, both ends included, with a colour (of ``COLOURS``, or CSS) and a text shown on hover."""

    first: float
    last: float
    colour: str
    text: str


_TEMPLATE = Environment(autoescape=True).from_string(
    '<svg style="width:100%" viewBox="0 0 {{ width }} {{ base + 18 }}" role="img" aria-label="time axis">'
    '{% for x, y, wide, colour, text in bars %}<rect x="{{ "%.1f" % x }}" y="{{ y }}" width="{{ "%.1f" % wide }}" '
    'height="{{ high }}" rx="3" fill="{{ colour }}"><title>{{ text }}</title></rect>{% endfor %}'
    '<path class="axis" d="M{{ pad }} {{ base }}H{{ width - pad }}"/><text x="{{ pad }}" y="{{ base + 13 }}">1</text>'
    '<text x="{{ width - pad }}" y="{{ base + 13 }}" text-anchor="end">{{ unit }} {{ end }}</text></svg>'
)


def ribbons_svg(ribbons: Sequence[Ribbon], end: float, unit: str = "frame") -> Markup:
    """Draw one ribbon per row over an axis from the first frame (1) to ``end``."""
    scale = (WIDTH - 2 * PAD) / max(end, 1)
    bars = [
        (
            PAD + (ribbon.first - 1) * scale,
            PAD + row * ROW,
            max((ribbon.last - ribbon.first + 1) * scale, 2),
            COLOURS.get(ribbon.colour, ribbon.colour),
            ribbon.text,
        )
        for row, ribbon in enumerate(ribbons)
    ]
    base = PAD + len(ribbons) * ROW
    return Markup(
        _TEMPLATE.render(width=WIDTH, base=base, bars=bars, high=ROW - 5, pad=PAD, unit=unit, end=f"{end:g}")
    )
