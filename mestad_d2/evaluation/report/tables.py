"""Results as a table to read and as plain JSON to keep."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate

from mestad_d2.evaluation.frame_map.score import FrameMAP
from mestad_d2.formats.label_map import LabelMap


def per_class_table(result: FrameMAP, label_map: LabelMap) -> str:
    """Format classes of ground truth or detections, most frequent first, with AP in percent."""
    rows = [
        [
            c.id,
            c.name,
            label_map.group_of(c.id) or "-",
            "-" if math.isnan(c.ap) else f"{100 * c.ap:.2f}",
            c.num_gt,
            c.num_det,
            c.num_tp,
        ]
        for c in sorted(result.per_class.values(), key=lambda c: (-c.num_gt, c.id))
        if c.num_gt or c.num_det
    ]
    head = ["id", "action", "group", "AP", "ground truth", "detections", "true"]
    # Numbers are formatted already; tabulate would drop their trailing zeros.
    return tabulate(rows, headers=head, tablefmt="pipe", disable_numparse=True)


def result_json(result: FrameMAP) -> dict[str, Any]:
    """Return ``{"mAP": x or None, "per_class": {id: {name, ap, num_gt, num_det, num_tp}}}``, NaN as None."""
    return {
        "protocol": result.protocol,
        "mAP": none_if_nan(result.mAP),
        "per_class": {
            str(c.id): {
                "name": c.name,
                "ap": none_if_nan(c.ap),
                "num_gt": c.num_gt,
                "num_det": c.num_det,
                "num_tp": c.num_tp,
            }
            for c in result.per_class.values()
        },
    }


def none_if_nan(value: float) -> float | None:
    """Return None in place of NaN, which JSON lacks."""
    return None if math.isnan(value) else value
