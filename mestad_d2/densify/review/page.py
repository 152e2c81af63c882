"""Write the review as one self-contained html file, uncertain stretches first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from mestad_d2.densify.review.stretches import Card, Picture
from mestad_d2.formats.files import write_text
from mestad_d2.semisup.change_points import log_odds

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1d22;--dim:#667;--paper:#f5f6f8;--card:#fff;--line:#d8dbe2;
--on:#2b7de9;--score:#c2571a}
@media(prefers-color-scheme:dark){:root{--ink:#e9eaee;--dim:#9aa0ad;--paper:#15171b;--card:#1f2228;
--line:#3a3f49;--on:#5ba0ff;--score:#ff9d5c}}
*{box-sizing:border-box}body{margin:0;padding:24px;background:var(--paper);color:var(--ink);
font:15px/1.45 system-ui,sans-serif}main{max-width:1320px;margin:auto}h1{font-size:24px;margin:0 0 4px}
h2{font-size:17px;margin:0}p{margin:4px 0}.dim{color:var(--dim)}
article{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:16px;margin:16px 0}
header{display:flex;gap:12px;justify-content:space-between;flex-wrap:wrap;align-items:baseline}
.sure{font-variant-numeric:tabular-nums;font-weight:600;padding:2px 10px;border-radius:99px;color:#fff}
.strip{display:flex;gap:6px;overflow-x:auto;margin:10px 0}figure{margin:0;flex:1 1 0;min-width:110px;
max-width:260px}
figure img{display:block;width:100%;border-radius:4px;border:3px solid transparent}
figure.key img{border-color:var(--on)}figcaption{font-size:12px;color:var(--dim);text-align:center}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:12px;margin:8px 0}
.sides>div:last-child{text-align:right}.tag{display:inline-block;border:1px solid var(--line);
border-radius:5px;padding:0 7px;margin:2px;overflow-wrap:anywhere}.tag.only{border-color:var(--score);color:var(--score)}
.lanes{display:grid;grid-template-columns:minmax(90px,220px) 1fr;gap:4px 10px;align-items:center}
.lanes span{overflow-wrap:anywhere;text-align:right;font-size:13px}svg{width:100%;height:38px;display:block;
background:var(--paper);border-radius:4px}.chance{fill:var(--on);opacity:.35}.score{fill:none;
stroke:var(--score);stroke-width:1.5;vector-effect:non-scaling-stroke}.moment{stroke:var(--ink);
stroke-width:2;stroke-dasharray:4 3;vector-effect:non-scaling-stroke}
i{display:inline-block;width:12px;height:12px;border-radius:2px;vertical-align:-1px;margin:0 4px 0 10px}
"""


_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>Review: uncertain stretches</title><style>{{ style|safe }}</style></head><body><main>
<h1>Uncertain stretches first</h1>
<p class="dim">{{ shown|length }} of {{ total }} people between two key frames. Confidence is the mean of a
person's least sure fifth.</p>
<p class="dim">Boxes:<i style="background:rgb(255,176,0)"></i>written
<i style="background:rgb(90,200,250)"></i>the teacher's<i style="background:rgb(150,150,150)"></i>other
people. Lanes:<i style="background:var(--on)"></i>chance that the action goes on
<i style="background:var(--score)"></i>the teacher's score; dashed: where it starts or ends. Frames with
a blue rim are key frames.</p>
{%- for card, strip in shown %}{% set stretch, labels = card.stretch.detected, card.labels %}
<article id="card{{ loop.index }}" data-sure="{{ '%.4f' % card.sure }}"><header><h2>
{{- stretch.video_id }} · {{ '%g' % stretch.left.time }}–{{ '%g' % stretch.right.time }} s · person {{ labels.person_id -}}
</h2><span class="sure" style="background:hsl({{ (120 * card.sure)|round|int }},60%,34%)">
{{- '%.0f' % (100 * card.sure) }}%</span></header>
<div class="strip">
{%- for p in strip -%}
<figure class="{{ 'key' if p.key else 'between' }}"><img alt="frame at {{ '%.2f' % p.time }} s" src="data:image/jpeg;base64,
{{- p.jpeg }}"><figcaption>{{ '%.2f' % p.time }} s</figcaption></figure>
{%- endfor %}</div>
<div class="sides">
{%- for frame, person, other in ((stretch.left, labels.actor.left, labels.actor.right),
                                 (stretch.right, labels.actor.right, labels.actor.left)) -%}
<div><b>Key frame at {{ '%g' % frame.time }} s</b><br>
{%- if not person %}<span class="dim">not there</span>
{%- else %}{% for action in person.actions|sort -%}
<span class="tag{{ '' if other and action in other.actions else ' only' }}">{{ name(action) }}</span>
{%- endfor %}{% endif %}</div>
{%- endfor %}</div>
<div class="lanes">
{%- for action in labels.actions|sort %}<span>{{ name(action) }}</span>{{ lane(card, action) }}{% endfor %}</div>
<p><b>Assigned:</b> {{ assigned(card) }}</p>
<p><b>Why to look:</b> {{ card.why|join('; ') or 'less sure than others by small signs' }}.</p></article>
{%- else %}
<p>Nothing was labelled between key frames.</p>
{%- endfor %}</main></body></html>
"""
_LANE = """<svg viewBox="0 0 100 38" preserveAspectRatio="none" role="img" aria-label="chance over time">
{%- if chance %}<path class="chance" d="M0 36 {{ chance }} L100 36Z"/>{% endif %}
{%- if score is not none %}<polyline class="score" points="{{ score }}"/>{% endif %}
{%- for x in moments %}<line class="moment" x1="{{ '%.2f' % x }}" x2="{{ '%.2f' % x }}" y1="0" y2="38"/>{% endfor %}</svg>"""

# Names of videos, actions and reasons may hold any text: everything is escaped unless it is marked as safe.
_TEMPLATES = Environment(autoescape=True)


def write_page(
    path: Path, shown: Sequence[tuple[Card, list[Picture]]], total: int, names: dict[int, str]
) -> None:
    """Write the page.

    Args:
        shown: cards with their film strips, the least sure first; total: cards there are.
        names: of the actions, by id; they may hold any text.
    """

    def name(action: int) -> str:
        return names.get(action, f"action {action}")

    text = _TEMPLATES.from_string(_PAGE).render(
        style=_STYLE, shown=shown, total=total, name=name, lane=_lane,
        assigned=lambda card: _assigned(card, name),
    )  # fmt: skip
    write_text(path, text)


def _assigned(card: Card, name: Callable[[int], str]) -> str:
    labels, moved = card.labels, {change.action_id: change for change in card.labels.changes}
    parts = []
    for action in sorted(labels.actions):
        if action in moved:
            word = "starts" if moved[action].starts else "ends"
            parts.append(f"{name(action)} {word} at {moved[action].time:.2f} s")
        else:
            parts.append(f"{name(action)} throughout")
    there = labels.there >= 0.5
    if not there.all():
        times = card.stretch.detected.times[there]
        parts.append(f"in view {times[0]:.2f}–{times[-1]:.2f} s" if len(times) else "not in view")
    return "; ".join(parts)


def _lane(card: Card, action: int) -> Markup:
    times, labels = card.stretch.detected.times, card.labels
    low, span = times[0], max(times[-1] - times[0], 1e-9)
    x = [100 * (time - low) / span for time in times]
    score = None
    if action <= labels.track.actions.shape[1]:
        # Log odds from -4 to 4 fill the lane: scores near 0 and 1 differ visibly.
        odds = log_odds(labels.track.actions[:, action - 1]).clip(-4, 4)
        seen = zip(x, odds, labels.track.seen, strict=True)
        score = " ".join(f"{a:.2f},{36 - 34 * (o + 4) / 8:.2f}" for a, o, there in seen if there)
    chance = " ".join(f"L{a:.2f} {36 - 34 * c:.2f}" for a, c in zip(x, labels.actions[action], strict=True))
    moments = [100 * (c.time - low) / span for c in labels.changes if c.action_id == action]
    return Markup(_TEMPLATES.from_string(_LANE).render(chance=chance, score=score, moments=moments))
