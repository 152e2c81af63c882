"""The report page of tubes: figures by class, kinds of errors, curves, and the worst misses on a time axis."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from mestad_d2.evaluation.report.charts import precision_recall_svg, score_histogram_svg
from mestad_d2.evaluation.report.ribbons import Ribbon, ribbons_svg
from mestad_d2.evaluation.report.template import ClassRow, Curve, Figure, Part, html_page, percent
from mestad_d2.evaluation.tubes.errors import FRAME_KINDS, VIDEO_KINDS, Errors, frame_errors, video_errors
from mestad_d2.evaluation.tubes.evaluate_files import ERRORS_AT, Inputs
from mestad_d2.evaluation.tubes.overlap import tube_iou
from mestad_d2.evaluation.tubes.precision import curve
from mestad_d2.evaluation.tubes.protocols import get_protocol
from mestad_d2.evaluation.tubes.result import MapResult
from mestad_d2.evaluation.tubes.summary import published_failures
from mestad_d2.formats.files import write_text
from mestad_d2.formats.tubes.records import FrameBoxes, Tubelets, Tubes

_EXAMPLES = 24
_MAIN = "0.5"


def write_tube_report(folder: str | Path, inputs: Inputs, results: list[MapResult]) -> Path:
    """Write ``folder/index.html`` and return its path.

    Args:
        results: of ``evaluate``, video before frame.

    Raises:
        UserError: the page can't be written.
    """
    path = Path(folder) / "index.html"
    title = f"{', '.join(f'{r.kind}-mAP {percent(r.thresholds[_MAIN].mean)}' for r in results)} ({results[0].protocol})"
    parts = [part for result in results for part in _section(inputs, result)]
    page = html_page(title, _facts(inputs), list(published_failures(results)), parts)
    write_text(path, page, fix="choose another --report")
    return path


def _section(inputs: Inputs, result: MapResult) -> list[Part]:
    video = result.kind == "video"
    name = "Tubes" if video else "Frames"
    errors, kinds = _errors(inputs, result)
    head = ("class", "action", "", "AP", "", "ground truth", "detections", "true")
    cards = [(f"IoU {iou}", percent(aps.mean)) for iou, aps in result.thresholds.items()]
    parts = [
        Part("cards", cards, f"{name}: mean over classes"),
        Part("classes", _classes(result), f"{name}: AP by class", head=head),
        Part(
            "shares",
            _kinds(errors, kinds),
            f"{name}: what the false positives are (IoU {_MAIN})",
            "Share of each kind among the detections so far, integrated over recall as precision is for AP.",
        ),
    ]
    if video:
        lead = (
            "Ground-truth tubes without a match, longest first: the tube (blue) and the best detected tube of its "
            "class and video (orange) on the frames of the video."
        )
        figures = _misses(inputs.truth, inputs.tubes, inputs, result)
        parts.append(Part("gallery", figures, "Worst misses", lead))
    parts.append(Part("curves", _curves(inputs, result), f"{name}: precision over recall, and scores"))
    return parts


def _errors(inputs: Inputs, result: MapResult) -> tuple[Errors, dict[str, str]]:
    protocol, classes = get_protocol(result.protocol), inputs.dataset.classes
    if result.kind == "video":
        return video_errors(inputs.truth, inputs.tubes, classes, protocol, ERRORS_AT), VIDEO_KINDS
    return frame_errors(inputs.truth, frames_of(inputs), classes, protocol, ERRORS_AT), FRAME_KINDS


def frames_of(inputs: Inputs) -> FrameBoxes:
    """Return the frame detections of the inputs, tubelets split into frames."""
    return inputs.frames.as_frames() if isinstance(inputs.frames, Tubelets) else inputs.frames


def _facts(inputs: Inputs) -> str:
    found = f", {len(inputs.tubes):,} {'linked' if inputs.linked else 'detected'}" if inputs.tubes else ""
    return (
        f"{len(inputs.dataset.videos):,} videos, {len(inputs.truth):,} ground-truth tubes with "
        f"{len(inputs.truth.frame):,} boxes{found}"
    )


def _classes(result: MapResult) -> list[ClassRow]:
    aps, judged = result.thresholds[_MAIN].per_class, result.judged[_MAIN]
    return [
        ClassRow(c, name, aps[c], judged[c].truths, len(judged[c].rows), int((judged[c].claimed >= 0).sum()))
        for c, name in enumerate(result.classes)
        if c in judged and (judged[c].truths or len(judged[c].rows))
    ]


def _kinds(errors: Errors, kinds: dict[str, str]) -> list[tuple[str, str, float]]:
    words = {**kinds, "missed": "never found (1 - recall)"}
    shares = ((text, key, errors.shares[key].mean) for key, text in words.items())
    return [row for row in shares if not math.isnan(row[2])]


def _misses(truth: Tubes, found: Tubes, inputs: Inputs, result: MapResult) -> list[Figure]:
    claimed = [judged.claimed for judged in result.judged[_MAIN].values()]
    missed = np.setdiff1d(np.arange(len(truth)), np.concatenate([np.empty(0, np.int64), *claimed]))
    figures = []
    for i in missed[np.argsort(-truth.length[missed], kind="stable")][:_EXAMPLES].tolist():
        same = np.flatnonzero((found.video == truth.video[i]) & (found.label == truth.label[i]))
        rules = get_protocol("ours").video
        ious = tube_iou(truth, found, np.full(len(same), i), same, rules).iou
        ribbons = [Ribbon(int(truth.first[i]), int(truth.last[i]), "truth", "ground truth")]
        text = "nothing of its class in this video"
        if len(same):
            j = int(same[int(np.argmax(ious))])
            ribbons.append(
                Ribbon(int(found.first[j]), int(found.last[j]), "found", f"score {found.score[j]:.2f}")
            )
            text = f"best: IoU {ious.max():.2f}, score {found.score[j]:.2f}"
        video = inputs.dataset.videos[truth.video[i]]
        end = max(video.frames, *(r.last for r in ribbons))
        where = f"{video.name}, frames {truth.first[i]} to {truth.last[i]}"
        figures.append(Figure(result.classes[truth.label[i]], text, where, drawing=ribbons_svg(ribbons, end)))
    return figures


def _curves(inputs: Inputs, result: MapResult) -> list[Curve]:
    score = inputs.tubes.score if result.kind == "video" else frames_of(inputs).score
    curves = []
    for c, judged in result.judged[_MAIN].items():
        if not judged.truths:
            continue
        hits = judged.claimed >= 0
        precision = precision_recall_svg(*curve(hits, judged.truths, result.rules))
        ap = result.thresholds[_MAIN].per_class[c]
        count = f"{judged.truths:,} ground truth"
        curves.append(
            Curve(result.classes[c], ap, count, precision, score_histogram_svg(score[judged.rows], hits))
        )
    return curves
