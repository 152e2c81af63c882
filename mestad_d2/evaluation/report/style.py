"""Style of the report pages, for light and dark mode."""

from __future__ import annotations

import html
from collections.abc import Iterable

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
<title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body>
</html>
"""


def html_page(title: str, parts: Iterable[str]) -> str:
    """Render a whole page that needs no network and no other file."""
    return _PAGE.format(title=html.escape(title), style=STYLE, body="\n".join(parts))
