"""The figures of docs/evaluation.md: how far the protocols lie apart on one made file."""

from __future__ import annotations

import re

import numpy as np
from tiny import ROOT

from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.rows import make_rows
from mestad_d2.formats.label_map import LabelMap

CLASSES, FRAMES = 20, 600
LABELS = LabelMap({i: f"action {i}" for i in range(1, CLASSES + 1)})


def made_file() -> tuple[list, list, set[str]]:
    """Ground truth and detections as a good model gives them, rows person by person, and excluded frames.

    Of the frames 10 % have people that nobody labelled; 4 % are excluded; class 20 is never detected.
    """
    rng = np.random.default_rng(0)
    frequent = 1 / np.arange(1, CLASSES + 1)
    gt, det = [], []
    for frame in range(FRAMES):
        labelled = rng.random() > 0.1
        for person in range(rng.integers(1, 5)):
            x, y = rng.uniform(0, 0.6, 2)
            box = np.array([x, y, x + rng.uniform(0.1, 0.4), y + rng.uniform(0.2, 0.4)])
            actions = rng.choice(CLASSES, rng.integers(1, 4), replace=False, p=frequent / frequent.sum())
            if labelled:
                gt += [(f"v,{frame:04d}", *box, action + 1, person) for action in actions]
            scores = rng.normal(-3, 1, CLASSES)
            scores[actions] += 3
            # Some people are found twice, the second time less well placed.
            for copy in range(1 + (rng.random() < 0.2)):
                near = box + rng.normal(0, 0.015 + 0.03 * copy, 4)
                near_scores = scores + rng.normal(0, 0.3, CLASSES)
                det += [(f"v,{frame:04d}", *near, i + 1, near_scores[i]) for i in range(CLASSES - 1)]
    return gt, det, {f"v,{frame:04d}" for frame in range(0, FRAMES, 25)}


def test_the_page_has_the_figures_of_the_made_file() -> None:
    gt, det, excluded = made_file()
    tables = []
    for rows in (gt, det):
        numbers = np.array([r[1:] for r in rows])
        tables.append(make_rows([r[0] for r in rows], numbers[:, :4], numbers[:, 4], numbers[:, 5]))
    found = {name: frame_map(*tables, LABELS, name, excluded) for name in PROTOCOLS}
    cells = [f"{100 * found[name].mAP:.1f}" for name in ("activitynet", "slowfast", "release", "mmaction2")]
    stricter = found["activitynet"].stricter()
    page = re.sub(r"\s+", " ", (ROOT / "docs" / "evaluation.md").read_text())
    assert f"| one made file | {' | '.join(cells)} |" in page
    assert (
        f"{100 * stricter['mAP75']:.1f} at IoU 0.75 and {100 * stricter['mAP50:95']:.1f} over 0.5 to 0.95"
        in page
    )
