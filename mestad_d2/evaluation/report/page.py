"""Write the report page of an evaluation; it needs no network and no other file."""

from __future__ import annotations

import html
import math
from pathlib import Path

import numpy as np

from mestad_d2.evaluation.frame_map.score import ClassAP, FrameMAP, precision_recall, rank_scores
from mestad_d2.evaluation.report.charts import precision_recall_svg, score_histogram_svg
from mestad_d2.evaluation.report.examples import (
    KINDS,
    Example,
    best_false_positives,
    best_misses,
    false_positive_kinds,
)
from mestad_d2.evaluation.report.pictures import Frames, picture
from mestad_d2.evaluation.report.style import html_page
from mestad_d2.formats.files import write_text
from mestad_d2.formats.label_map import LabelMap


def write_report(
    folder: str | Path,
    result: FrameMAP,
    label_map: LabelMap,
    frames: Frames | None = None,
    note: str | None = None,
) -> Path:
    """Write ``folder/index.html`` and return its path.

    Args:
        frames: gives the frame of a video and timestamp, for pictures; None: examples are listed without.
        note: a remark shown at the top.
    Raises:
        UserError: the page can't be written.
    """
    path = Path(folder) / "index.html"
    write_text(
        path, _page(result, label_map, frames, note), fix="make room there, or choose another --report"
    )
    return path


def _page(result: FrameMAP, label_map: LabelMap, frames: Frames | None, note: str | None) -> str:
    m = result.matches
    title = f"frame-mAP {_percent(result.mAP)} ({result.protocol})"
    facts = (
        f"{len(m.gt.keys):,} annotated frames, {len(m.gt):,} boxes with an action, {len(m.order):,} judged "
        f"detections, {result.num_classes} of {len(result.per_class)} classes occur; IoU 0.5"
    )
    parts = [
        f"<h1>{html.escape(title)}</h1><p>{facts}</p>",
        f'<p class="note">{html.escape(note)}</p>' if note else "",
        _cards(result, label_map),
        "<h2>AP by class</h2>",
        _bars(result, label_map),
        "<h2>Which false positives hurt</h2>",
        _kinds(result),
        "<h2>Surest false positives</h2>",
        "<p>Orange: the detection. Blue: the closest annotated box. At most two of a class.</p>",
        _gallery(best_false_positives(result), result, frames),
        "<h2>Misses</h2>",
        "<p>Annotated boxes (orange) that no detection matched: best classes first, large boxes first.</p>",
        _gallery(best_misses(result), result, frames),
        "<h2>Precision over recall, and scores</h2>",
        "<p>Left: the curve and, shaded, the area that AP measures. Right: scores of "
        '<span class="t">true</span> and <span class="f">false</span> detections, each scaled to its own '
        "highest bar.</p>",
        _curves(result),
    ]
    return html_page(title, parts)


def _cards(result: FrameMAP, label_map: LabelMap) -> str:
    values = {"mAP": result.mAP, **result.groups(label_map)}
    cards = (f"<div><b>{_percent(v)}</b>{html.escape(name)}</div>" for name, v in values.items())
    return f'<div class="cards">{"".join(cards)}</div>'


def _bars(result: FrameMAP, label_map: LabelMap) -> str:
    rows = []
    for c in _by_frequency(result):
        width = 0 if math.isnan(c.ap) else 100 * c.ap
        group = label_map.group_of(c.id) or ""
        bar = f'<div class="bar {group}" style="width:{width:.2f}%"></div>'
        rows.append(
            f"<tr><td>{c.id}</td><td>{html.escape(c.name)}</td><td>{group}</td>"
            f"<td class=ap>{_percent(c.ap)}</td><td class=track>{bar}</td>"
            f"<td>{c.num_gt:,}</td><td>{c.num_det:,}</td><td>{c.num_tp:,}</td></tr>"
        )
    head = "".join(f"<th>{h}" for h in ("id", "action", "group", "AP", "", "boxes", "detections", "true"))
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _kinds(result: FrameMAP) -> str:
    counts = false_positive_kinds(result)
    total = counts.total()
    if not total:
        return "<p>None among the best n detections of a class with n boxes.</p>"
    rows = []
    for kind, words in KINDS.items():
        share = 100 * counts[kind] / total
        bar = f'<div class="bar" style="width:{share:.1f}%"></div>'
        rows.append(
            f"<tr><td>{html.escape(words)}</td><td>{counts[kind]:,}</td><td class=ap>{share:.0f} %</td>"
            f"<td class=track>{bar}</td></tr>"
        )
    lead = (
        f"<p>{total:,} false positives are among the best n detections of their class, n being its boxes.</p>"
    )
    return f'{lead}<div class="wide"><table><tbody>{"".join(rows)}</tbody></table></div>'


def _gallery(examples: list[Example], result: FrameMAP, frames: Frames | None) -> str:
    if not examples:
        return "<p>None.</p>"
    figures = []
    for e in examples:
        url = picture(frames, e) if frames else None
        name = html.escape(result.per_class[e.action_id].name)
        image = f'<img alt="{name}" src="{url}">' if url else ""
        score = "" if e.score is None else f" {e.score:.2f}"
        where = html.escape(f"{e.video}, {e.timestamp:g} s")
        caption = f"<b>{name}</b>{score}<br>{html.escape(e.remark)}<br><small>{where}</small>"
        figures.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    return f'<div class="gallery">{"".join(figures)}</div>'


def _curves(result: FrameMAP) -> str:
    m = result.matches
    actions = m.det.actions[m.order]
    scores = m.det.scores[m.order]
    cells = []
    for c in _by_frequency(result):
        if not c.num_gt:
            continue
        mine = np.flatnonzero(actions == c.id)
        mine = mine[rank_scores(scores[mine])]
        curve = precision_recall_svg(*precision_recall(m.tp[mine], c.num_gt))
        name = f"<h3>{html.escape(c.name)} <small>{_percent(c.ap)}, {c.num_gt:,} boxes</small></h3>"
        cells.append(f"<section>{name}{curve}{score_histogram_svg(scores[mine], m.tp[mine])}</section>")
    return f'<div class="curves">{"".join(cells)}</div>'


def _by_frequency(result: FrameMAP) -> list[ClassAP]:
    found = (c for c in result.per_class.values() if c.num_gt or c.num_det)
    return sorted(found, key=lambda c: (-c.num_gt, c.id))


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
