"""Evaluate files in AVA's format into figures, a table and a report, as ``tools/evaluate_ava.py`` does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mestad_d2.evaluation.diagnose import explain_zero, frames_note
from mestad_d2.evaluation.frame_map.protocols import get_protocol
from mestad_d2.evaluation.frame_map.score import FrameMAP, frame_map
from mestad_d2.evaluation.ground_truth import exclusion_keys
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.evaluation.report.tables import none_if_nan, per_class_table, result_json
from mestad_d2.formats.ava_csv import read_exclusions
from mestad_d2.formats.files import write_json
from mestad_d2.formats.label_map import LabelMap, read_label_map

if TYPE_CHECKING:
    from mestad_d2.evaluation.report.pictures import Frames


def evaluate_files(
    groundtruth: str,
    detections: str,
    labelmap: str,
    exclude: str | None = None,
    protocol: str = "activitynet",
    output: str | None = None,
    report: str | None = None,
    frames: Frames | None = None,
    stricter_ious: bool = False,
) -> str:
    """Evaluate files, write what is asked for, and return a summary to print.

    Args:
        output: JSON file to write.
        report: folder that gets a page ``index.html``; ``frames`` gives it pictures.
        stricter_ious: add the mean at IoU 0.75 and over 0.5, 0.55, ... 0.95.
    Raises:
        UserError: a file can't be read or written, or has a row that the protocol does not accept.
    """
    rules = get_protocol(protocol)
    label_map = read_label_map(labelmap)
    ids = set(label_map.names)
    gt = read_rows(groundtruth, "gt", rules, ids)
    det = read_rows(detections, "det", rules, ids)
    excluded = exclusion_keys(read_exclusions(exclude), rules) if exclude else set()
    result = frame_map(gt, det, label_map, rules, excluded)
    stricter = result.stricter() if stricter_ious else {}
    if output:
        write_json(
            output,
            result_json(result) | {name: none_if_nan(value) for name, value in stricter.items()},
            fix="choose another --output",
        )
    text = summary(result, label_map)
    for name, value in stricter.items():
        text += f"\nframe-{name} ({result.protocol}): {100 * value:.2f}"
    if exclude and not rules.exclusions:
        text += f"\nnote: protocol {rules.name} has no exclusions; {exclude} was not used"
    frames_apart = frames_note(gt, det)
    if frames_apart and len(gt) and len(det):
        text += f"\nnote: {frames_apart}"
    reason = explain_zero(result, gt, det, label_map)
    if reason:
        text += f"\nnote: {reason}"
    if report:
        # Imported here: a plain evaluation should not wait for the plotting libraries.
        from mestad_d2.evaluation.report.page import write_report

        text += f"\nreport: {write_report(report, result, label_map, frames, reason)}"
    return text


def summary(result: FrameMAP, label_map: LabelMap) -> str:
    """Format a table by class with the mean and means of groups, in percent."""
    lines = [per_class_table(result, label_map), ""]
    mean = "undefined (no ground truth)" if math.isnan(result.mAP) else f"{100 * result.mAP:.2f}"
    lines.append(f"frame-mAP@0.5 ({result.protocol}): {mean} over {result.num_classes} classes")
    lines += [f"  {group}: {100 * value:.2f}" for group, value in result.groups(label_map).items()]
    return "\n".join(lines)
