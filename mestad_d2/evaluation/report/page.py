"""Write the report page of an evaluation; it needs no network and no other file."""

from __future__ import annotations

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
from mestad_d2.evaluation.report.template import LEGEND, ClassRow, Curve, Figure, Part, html_page, percent
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
    facts = (
        f"{len(m.gt.keys):,} annotated frames, {len(m.gt):,} boxes with an action, {len(m.order):,} judged "
        f"detections, {result.num_classes} of {len(result.per_class)} classes occur; IoU 0.5"
    )
    head = ("id", "action", "group", "AP", "", "boxes", "detections", "true")
    cards = [
        (name, percent(value)) for name, value in {"mAP": result.mAP, **result.groups(label_map)}.items()
    ]
    parts = [
        Part("cards", cards),
        Part("classes", _classes(result, label_map), "AP by class", head=head),
        _kinds(result),
        _gallery(
            "Surest false positives",
            "Orange: the detection. Blue: the closest annotated box. At most two of a class.",
            best_false_positives(result),
            result,
            frames,
        ),
        _gallery(
            "Misses",
            "Annotated boxes (orange) that no detection matched: best classes first, large boxes first.",
            best_misses(result),
            result,
            frames,
        ),
        Part("curves", _curves(result), "Precision over recall, and scores", LEGEND),
    ]
    return html_page(
        f"frame-mAP {percent(result.mAP)} ({result.protocol})", facts, [note] if note else [], parts
    )


def _classes(result: FrameMAP, label_map: LabelMap) -> list[ClassRow]:
    return [
        ClassRow(c.id, c.name, c.ap, c.num_gt, c.num_det, c.num_tp, label_map.group_of(c.id) or "")
        for c in _by_frequency(result)
    ]


def _kinds(result: FrameMAP) -> Part:
    title = "Which false positives hurt"
    counts = false_positive_kinds(result)
    total = counts.total()
    if not total:
        return Part("text", title=title, lead="None among the best n detections of a class with n boxes.")
    rows = [(words, f"{counts[kind]:,}", counts[kind] / total) for kind, words in KINDS.items()]
    lead = f"{total:,} false positives are among the best n detections of their class, n being its boxes."
    return Part("shares", rows, title, lead)


def _gallery(title: str, lead: str, examples: list[Example], result: FrameMAP, frames: Frames | None) -> Part:
    figures = [
        Figure(
            name=result.per_class[e.action_id].name,
            remark=e.remark,
            where=f"{e.video}, {e.timestamp:g} s",
            image=picture(frames, e) if frames else None,
            score="" if e.score is None else f" {e.score:.2f}",
        )
        for e in examples
    ]
    return Part("gallery", figures, title, lead)


def _curves(result: FrameMAP) -> list[Curve]:
    m = result.matches
    actions = m.det.actions[m.order]
    scores = m.det.scores[m.order]
    curves = []
    for c in _by_frequency(result):
        if not c.num_gt:
            continue
        mine = np.flatnonzero(actions == c.id)
        mine = mine[rank_scores(scores[mine])]
        precision = precision_recall_svg(*precision_recall(m.tp[mine], c.num_gt))
        histogram = score_histogram_svg(scores[mine], m.tp[mine])
        curves.append(Curve(c.name, c.ap, f"{c.num_gt:,} boxes", precision, histogram))
    return curves


def _by_frequency(result: FrameMAP) -> list[ClassAP]:
    found = (c for c in result.per_class.values() if c.num_gt or c.num_det)
    return sorted(found, key=lambda c: (-c.num_gt, c.id))
