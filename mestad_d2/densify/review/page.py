"""The review as one html file without anything from outside: uncertain stretches first."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from mestad_d2.densify.key_frames import Person
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


def write_page(
    path: Path, shown: Sequence[tuple[Card, list[Picture]]], total: int, names: dict[int, str]
) -> None:
    """Write the page.

    Args:
        shown: cards with their film strips, the least sure first; total: cards there are.
        names: of the actions, by id; they may hold any text.
    """
    body = "".join(_card(number, card, strip, names) for number, (card, strip) in enumerate(shown, 1))
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Review: uncertain stretches</title><style>{_STYLE}</style></head><body><main>"
        "<h1>Uncertain stretches first</h1>"
        f'<p class="dim">{len(shown)} of {total} people between two key frames. Confidence is the mean of a '
        "person&#39;s least sure fifth.</p>"
        '<p class="dim">Boxes:<i style="background:rgb(255,176,0)"></i>written'
        '<i style="background:rgb(90,200,250)"></i>the teacher&#39;s<i style="background:rgb(150,150,150)"></i>other '
        'people. Lanes:<i style="background:var(--on)"></i>chance that the action goes on'
        '<i style="background:var(--score)"></i>the teacher&#39;s score; dashed: where it starts or ends. Frames with '
        "a blue rim are key frames.</p>"
        f"{body or '<p>Nothing was labelled between key frames.</p>'}</main></body></html>"
    )
    write_text(path, text)


def _card(number: int, card: Card, strip: Sequence[Picture], names: dict[int, str]) -> str:
    stretch, labels = card.stretch, card.labels
    hue = round(120 * card.sure)
    title = f"{escape(stretch.video_id)} · {stretch.left.time:g}–{stretch.right.time:g} s · person {labels.person_id}"
    pictures = "".join(
        f'<figure class="{"key" if p.key else "between"}"><img alt="frame at {p.time:.2f} s" '
        f'src="data:image/jpeg;base64,{p.jpeg}"><figcaption>{p.time:.2f} s</figcaption></figure>' for p in strip
    )  # fmt: skip
    left, right = labels.actor.left, labels.actor.right
    lanes = "".join(
        f"<span>{_name(action, names)}</span>{_lane(card, action)}" for action in sorted(labels.actions)
    )
    return (
        f'<article id="card{number}" data-sure="{card.sure:.4f}"><header><h2>{title}</h2>'
        f'<span class="sure" style="background:hsl({hue},60%,34%)">{card.sure:.0%}</span></header>'
        f'<div class="strip">{pictures}</div>'
        f'<div class="sides"><div><b>Key frame at {stretch.left.time:g} s</b><br>{_tags(left, right, names)}</div>'
        f"<div><b>Key frame at {stretch.right.time:g} s</b><br>{_tags(right, left, names)}</div></div>"
        f'<div class="lanes">{lanes}</div>'
        f"<p><b>Assigned:</b> {_assigned(card, names)}</p>"
        f"<p><b>Why to look:</b> {escape('; '.join(card.why) or 'less sure than others by small signs')}.</p></article>"
    )


def _name(action: int, names: dict[int, str]) -> str:
    return escape(names.get(action, f"action {action}"))


def _tags(person: Person | None, other: Person | None, names: dict[int, str]) -> str:
    if person is None:
        return '<span class="dim">not there</span>'
    return "".join(
        f'<span class="tag{"" if other and action in other.actions else " only"}">{_name(action, names)}</span>'
        for action in sorted(person.actions)
    )


def _assigned(card: Card, names: dict[int, str]) -> str:
    labels, moved = card.labels, {change.action_id: change for change in card.labels.changes}
    parts = []
    for action in sorted(labels.actions):
        if action in moved:
            word = "starts" if moved[action].starts else "ends"
            parts.append(f"{_name(action, names)} {word} at {moved[action].moment:.2f} s")
        else:
            parts.append(f"{_name(action, names)} throughout")
    there = labels.there >= 0.5
    if not there.all():
        times = card.stretch.times[there]
        parts.append(f"in view {times[0]:.2f}–{times[-1]:.2f} s" if len(times) else "not in view")
    return "; ".join(parts)


def _lane(card: Card, action: int) -> str:
    times, labels = card.stretch.times, card.labels
    low, span = times[0], max(times[-1] - times[0], 1e-9)
    x = [100 * (time - low) / span for time in times]
    top = " ".join(f"L{a:.2f} {36 - 34 * c:.2f}" for a, c in zip(x, labels.actions[action], strict=True))
    drawn = f'<path class="chance" d="M0 36 {top} L100 36Z"/>'
    if action <= labels.track.actions.shape[1]:
        # Log odds from -4 to 4 fill the lane: scores near 0 and 1 differ visibly.
        odds = log_odds(labels.track.actions[:, action - 1]).clip(-4, 4)
        points = [
            f"{a:.2f},{36 - 34 * (o + 4) / 8:.2f}"
            for a, o, seen in zip(x, odds, labels.track.seen, strict=True) if seen
        ]  # fmt: skip
        drawn += f'<polyline class="score" points="{" ".join(points)}"/>'
    for change in labels.changes:
        if change.action_id == action:
            place = 100 * (change.moment - low) / span
            drawn += f'<line class="moment" x1="{place:.2f}" x2="{place:.2f}" y1="0" y2="38"/>'
    return f'<svg viewBox="0 0 100 38" preserveAspectRatio="none" role="img" aria-label="chance over time">{drawn}</svg>'
