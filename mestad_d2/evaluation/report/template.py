"""The template of the report pages: parts, escaped by jinja2, in a style for light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

STYLE = """
:root { --ink:#1c2330; --soft:#667085; --line:#d9dee7; --page:#fff; --track:#eef1f6;
  --pose:#3b7dd8; --object:#b8651b; --person:#7a4fbf; --plain:#3b7dd8; --true:#1f9d6b; --false:#d9772b }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e6e9f0; --soft:#98a2b3; --line:#343b49; --page:#14181f; --track:#232a35 } }
body { margin:0; background:var(--page); color:var(--ink); font:15px/1.45 system-ui,sans-serif }
main { max-width:1120px; margin:0 auto; padding:24px 20px 60px }
h1 { font-size:26px; margin:0 } h2 { font-size:19px; margin:36px 0 8px } h3 { font-size:13px; margin:0 0 4px }
p { color:var(--soft); margin:4px 0 12px } small { color:var(--soft); font-weight:400 }
.note { color:var(--ink); border-left:4px solid var(--false); background:var(--track); padding:10px 14px }
.cards { display:flex; flex-wrap:wrap; gap:12px }
.cards div { border:1px solid var(--line); border-radius:8px;
  padding:10px 18px; min-width:90px; color:var(--soft) }
.cards b { display:block; font-size:24px; color:var(--ink) }
.wide { overflow-x:auto } table { border-collapse:collapse; width:100%; font-size:13px }
th { text-align:left; color:var(--soft); font-weight:500 }
td, th { padding:3px 8px; border-bottom:1px solid var(--line) }
td.ap, th:nth-child(4) { text-align:right }
td.ap { font-variant-numeric:tabular-nums } td.track { width:38%; min-width:140px }
.bar { height:12px; border-radius:2px; background:var(--plain) } .bar.object { background:var(--object) }
.bar.person { background:var(--person) }
td.track { background:linear-gradient(var(--track),var(--track)) content-box }
.gallery { display:grid; grid-template-columns:repeat(auto-fill,minmax(210px,1fr)); gap:14px }
figure { margin:0; border:1px solid var(--line); border-radius:8px; overflow:hidden }
figure img { display:block; width:100%; height:170px; object-fit:contain; background:#000 }
figcaption { padding:8px 10px; font-size:13px; overflow-wrap:anywhere }
.curves { display:grid; grid-template-columns:repeat(auto-fill,minmax(340px,1fr)); gap:16px }
.curves section { border:1px solid var(--line); border-radius:8px; padding:10px; min-width:0 }
svg { width:49%; font-size:10px } svg text { fill:var(--soft) } .axis { fill:none; stroke:var(--line) }
.none { text-anchor:middle } .curve { fill:none; stroke:var(--plain); stroke-width:1.6 }
.area { fill:var(--plain); opacity:.16 } rect.true { fill:var(--true) } rect.false { fill:var(--false) }
.t { color:var(--true) } .f { color:var(--false) }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{ title }}</title><style>{{ style }}</style></head>
<body><main>
<h1>{{ title }}</h1><p>{{ facts }}</p>
{% for note in notes %}<p class="note">{{ note }}</p>
{% endfor %}
{% for part in parts %}
{% if part.title %}<h2>{{ part.title }}</h2>
{% endif %}
{% if part.lead %}<p>{{ part.lead }}</p>
{% endif %}
{% if part.kind == "cards" %}
<div class="cards">{% for name, value in part.rows %}<div><b>{{ value }}</b>{{ name }}</div>{% endfor %}</div>
{% elif part.kind == "classes" %}
<div class="wide"><table><thead><tr>{% for name in part.head %}<th>{{ name }}{% endfor %}</tr></thead><tbody>
{% for row in part.rows %}<tr><td>{{ row.id }}</td><td>{{ row.name }}</td><td>{{ row.group }}</td>\
<td class=ap>{{ row.ap|percent }}</td><td class=track>\
<div class="bar {{ row.group }}" style="width:{{ '%.2f' % row.width }}%"></div></td>\
<td>{{ '{:,}'.format(row.truths) }}</td><td>{{ '{:,}'.format(row.detections) }}</td>\
<td>{{ '{:,}'.format(row.hits) }}</td></tr>
{% endfor %}</tbody></table></div>
{% elif part.kind == "shares" %}
<div class="wide"><table><tbody>
{% for words, detail, share in part.rows %}<tr><td>{{ words }}</td><td>{{ detail }}</td>\
<td class=ap>{{ share|percent }} %</td><td class=track>\
<div class="bar" style="width:{{ '%.1f' % (100 * [share, 1]|min) }}%"></div></td></tr>
{% endfor %}</tbody></table></div>
{% elif part.kind == "gallery" and not part.rows %}
<p>None.</p>
{% elif part.kind == "gallery" %}
<div class="gallery">{% for figure in part.rows %}<figure>\
{% if figure.image %}<img alt="{{ figure.name }}" src="{{ figure.image }}">{% endif %}{{ figure.drawing }}\
<figcaption><b>{{ figure.name }}</b>{{ figure.score }}<br>{{ figure.remark }}<br>\
<small>{{ figure.where }}</small></figcaption></figure>
{% endfor %}</div>
{% elif part.kind == "curves" %}
<div class="curves">{% for curve in part.rows %}<section><h3>{{ curve.name }} <small>{{ curve.ap|percent }}, \
{{ curve.count }}</small></h3>{{ curve.precision }}{{ curve.scores }}</section>
{% endfor %}</div>
{% endif %}
{% endfor %}
</main></body>
</html>
"""


@dataclass(frozen=True)
class Part:
    """One part of a page.

    Attributes:
        kind: "cards" (rows (name, text)), "classes" (``ClassRow``), "shares" (rows (words, detail, share in
            [0, 1])), "gallery" (``Figure``), "curves" (``Curve``), or "text", which has no rows.
        head: column names of "classes".
    """

    kind: str
    rows: Sequence = ()
    title: str = ""
    lead: str | Markup = ""
    head: Sequence[str] = ()


@dataclass(frozen=True)
class ClassRow:
    """AP of one class with its counts; ``group`` is "" or an AVA group."""

    id: int
    name: str
    ap: float
    truths: int
    detections: int
    hits: int
    group: str = ""

    @property
    def width(self) -> float:
        """Width of the bar in percent; 0 where there is no AP."""
        return 0.0 if math.isnan(self.ap) else 100 * self.ap


@dataclass(frozen=True)
class Figure:
    """One example: a picture (data URL) or a drawing (SVG), and its caption."""

    name: str
    remark: str
    where: str
    image: str | None = None
    drawing: Markup = Markup()
    score: str = ""


@dataclass(frozen=True)
class Curve:
    """Precision over recall and scores of one class, as SVG."""

    name: str
    ap: float
    count: str
    precision: Markup
    scores: Markup


LEGEND = Markup(
    "Left: the curve and, shaded, the area that AP measures. Right: scores of "
    '<span class="t">true</span> and <span class="f">false</span> detections, each scaled to its own highest bar.'
)


def percent(value: float) -> str:
    """Format a share in percent with one decimal; NaN as a dash."""
    return "-" if math.isnan(value) else f"{100 * value:.1f}"


def html_page(title: str, facts: str, notes: Sequence[str], parts: Sequence[Part]) -> str:
    """Render a whole page that needs no network and no other file; every text is escaped."""
    return _TEMPLATE.render(title=title, facts=facts, notes=notes, parts=parts, style=Markup(STYLE))


def _template():
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["percent"] = percent
    # A backslash at the end of a line joins it with the next one.
    return environment.from_string(_PAGE.replace("\\\n", ""))


_TEMPLATE = _template()
