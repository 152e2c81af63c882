"""The report page of tubes: figures by class, kinds of errors, curves, and the worst misses on a time axis."""

from __future__ import annotations

import html
import math
from pathlib import Path

import numpy as np

from mestad_d2.evaluation.report.charts import precision_recall_svg, score_histogram_svg
from mestad_d2.evaluation.report.ribbons import Ribbon, ribbons_svg
from mestad_d2.evaluation.report.style import html_page
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
    title = f"{', '.join(f'{r.kind}-mAP {_percent(r.thresholds[_MAIN].mean)}' for r in results)} ({results[0].protocol})"
    parts = [f"<h1>{html.escape(title)}</h1>", _facts(inputs), *map(_note, published_failures(results))]
    for result in results:
        parts += _section(inputs, result)
    write_text(path, html_page(title, parts), fix="choose another --report")
    return path


def _section(inputs: Inputs, result: MapResult) -> list[str]:
    video = result.kind == "video"
    name = "Tubes" if video else "Frames"
    errors, kinds = _errors(inputs, result)
    parts = [f"<h2>{name}: mean over classes</h2>", _cards(result), f"<h2>{name}: AP by class</h2>"]
    parts += [_bars(inputs, result), f"<h2>{name}: what the false positives are (IoU {_MAIN})</h2>"]
    parts.append(_kinds(errors, kinds))
    if video:
        parts.append(
            "<h2>Worst misses</h2><p>Ground-truth tubes without a match, longest first: the tube (blue) and "
        )
        parts.append("the best detected tube of its class and video (orange) on the frames of the video.</p>")
        parts.append(_misses(inputs.truth, inputs.tubes, inputs, result))
    parts.append(f"<h2>{name}: precision over recall, and scores</h2>")
    parts.append(_curves(inputs, result))
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
        f"<p>{len(inputs.dataset.videos):,} videos, {len(inputs.truth):,} ground-truth tubes with "
        f"{len(inputs.truth.frame):,} boxes{found}</p>"
    )


def _note(text: str) -> str:
    return f'<p class="note">{html.escape(text)}</p>'


def _cards(result: MapResult) -> str:
    cards = (f"<div><b>{_percent(aps.mean)}</b>IoU {name}</div>" for name, aps in result.thresholds.items())
    return f'<div class="cards">{"".join(cards)}</div>'


def _bars(inputs: Inputs, result: MapResult) -> str:
    aps, judged, rows = result.thresholds[_MAIN].per_class, result.judged[_MAIN], []
    for c, name in enumerate(result.classes):
        if c not in judged or not (judged[c].truths or len(judged[c].rows)):
            continue
        width = 0 if math.isnan(aps[c]) else 100 * aps[c]
        rows.append(
            f"<tr><td>{c}</td><td>{html.escape(name)}</td><td></td><td class=ap>{_percent(aps[c])}</td><td class=track>"
            f'<div class="bar" style="width:{width:.2f}%"></div></td><td>{judged[c].truths:,}</td>'
            f"<td>{len(judged[c].rows):,}</td><td>{int((judged[c].claimed >= 0).sum()):,}</td></tr>"
        )
    head = "".join(
        f"<th>{h}" for h in ("class", "action", "", "AP", "", "ground truth", "detections", "true")
    )
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _kinds(errors: Errors, kinds: dict[str, str]) -> str:
    rows = []
    for key, words in {**kinds, "missed": "never found (1 - recall)"}.items():
        share = errors.shares[key].mean
        if math.isnan(share):
            continue
        rows.append(
            f"<tr><td>{html.escape(words)}</td><td>{key}</td><td></td><td class=ap>{_percent(share)}</td>"
            f'<td class=track><div class="bar" style="width:{100 * min(share, 1):.1f}%"></div></td></tr>'
        )
    lead = "<p>Share of each kind among the detections so far, integrated over recall as precision is for AP.</p>"
    return f'{lead}<div class="wide"><table><tbody>{"".join(rows)}</tbody></table></div>'


def _misses(truth: Tubes, found: Tubes, inputs: Inputs, result: MapResult) -> str:
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
        name = html.escape(result.classes[truth.label[i]])
        where = f"{html.escape(video.name)}, frames {truth.first[i]} to {truth.last[i]}"
        figures.append(
            f"<figure>{ribbons_svg(ribbons, end)}<figcaption><b>{name}</b><br>{text}<br><small>{where}</small>"
            "</figcaption></figure>"
        )
    return f'<div class="gallery">{"".join(figures)}</div>' if figures else "<p>None.</p>"


def _curves(inputs: Inputs, result: MapResult) -> str:
    score = inputs.tubes.score if result.kind == "video" else frames_of(inputs).score
    cells = []
    for c, judged in result.judged[_MAIN].items():
        if not judged.truths:
            continue
        hits = judged.claimed >= 0
        svg = precision_recall_svg(*curve(hits, judged.truths, result.rules))
        ap = _percent(result.thresholds[_MAIN].per_class[c])
        head = (
            f"<h3>{html.escape(result.classes[c])} <small>{ap}, {judged.truths:,} ground truth</small></h3>"
        )
        cells.append(f"<section>{head}{svg}{score_histogram_svg(score[judged.rows], hits)}</section>")
    return f'<div class="curves">{"".join(cells)}</div>'


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}"
