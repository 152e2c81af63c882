"""Evaluate files of tubes and frame detections into figures, a table and a report, as the tool does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from mestad_d2.errors import UserError
from mestad_d2.evaluation.report.tables import none_if_nan
from mestad_d2.evaluation.tubes.errors import frame_errors, video_errors
from mestad_d2.evaluation.tubes.frame_map import frame_mabo, frame_map
from mestad_d2.evaluation.tubes.protocols import PROTOCOLS, get_protocol
from mestad_d2.evaluation.tubes.result import MapResult
from mestad_d2.evaluation.tubes.summary import aps_json, map_json, published_failures, table
from mestad_d2.evaluation.tubes.video_map import video_map
from mestad_d2.formats.tubes.csv_files import TubeDataset, read_dataset
from mestad_d2.formats.tubes.detections import read_detections
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.formats.tubes.records import FrameBoxes, Tubelets, Tubes, VideoInfo

# (frame detections, dataset) -> tubes.
Link = Callable[[FrameBoxes | Tubelets, TubeDataset], Tubes]
# IoU of the error analyses.
ERRORS_AT = 0.5


@dataclass
class Inputs:
    """The input of an evaluation: ground truth, and tubes or frame detections or both.

    Attributes:
        tubes: as given, or linked.
        linked: whether ``tubes`` were linked from ``frames``.
        given: the tubes that were given beside linked ones.
    """

    dataset: TubeDataset
    truth: Tubes
    tubes: Tubes | None = None
    frames: FrameBoxes | Tubelets | None = None
    linked: bool = False
    given: Tubes | None = None
    notes: list[str] = field(default_factory=list)


def read_inputs(
    groundtruth: str | Path,
    detections: str | Path | None,
    frames: str | Path | None = None,
    case: str | Path | None = None,
    link: Link | None = None,
    split: int = 1,
    test_list: str | Path | None = None,
) -> Inputs:
    """Read all files and link frame detections where that is asked for.

    Args:
        detections: tubes, or frame detections or tubelets.
        frames: frame detections or tubelets.
        case: json of classes and videos, for a csv of ground truth.
        link: makes tubes of ``frames``, or of ``detections`` that are no tubes.

    Raises:
        UserError: a file can't be used, or there is nothing to evaluate.
    """
    dataset, truth = read_truth(groundtruth, read_dataset(case) if case else None, split, test_list)
    notes: list[str] = []
    if detections and frames and link and not Path(detections).exists():
        notes.append(f"{detections} is not there; only the tubes linked from {frames} are evaluated")
        detections = None
    given = read_detections(detections, _open(dataset, case)) if detections else None
    found = read_detections(frames, _open(dataset, case)) if frames else None
    if isinstance(found, Tubes):
        raise UserError(f"{frames}: holds tubes; give them as --detections")
    if given is not None and not isinstance(given, Tubes):
        found, given = (given if found is None else found), None
    if case is None:
        dataset, truth, given, found = _united(dataset, truth, given, found)
    inputs = Inputs(dataset, truth, given, found, notes=notes)
    if link:
        if found is None:
            raise UserError("--link links frame detections: give them as --frames or --detections")
        inputs.tubes, inputs.linked, inputs.given = link(found, dataset), True, given
    if inputs.tubes is None and inputs.frames is None:
        raise UserError("give --detections or --frames")
    return inputs


def evaluate(inputs: Inputs, protocol: str, errors: bool = True) -> tuple[dict[str, Any], list[MapResult]]:
    """Evaluate the inputs under a protocol.

    Args:
        errors: add the analyses of false positives.

    Returns:
        content for a JSON file, and the results (video before frame).
    """
    rules = get_protocol(protocol)
    dataset, truth, classes = inputs.dataset, inputs.truth, inputs.dataset.classes
    results: list[MapResult] = []
    content: dict[str, Any] = {"protocol": rules.name, "source": rules.source, "classes": list(classes)}
    if inputs.tubes is not None:
        results.append(video_map(truth, inputs.tubes, classes, rules))
        content["video_mAP"] = map_json(results[-1])
        content["tubes"] = len(inputs.tubes)
        if errors:
            kinds = video_errors(truth, inputs.tubes, classes, rules, ERRORS_AT)
            content[f"video_errors@{ERRORS_AT}"] = {k: aps_json(v) for k, v in kinds.shares.items()}
    if inputs.given is not None:
        content["given_tubes"] = {"video_mAP": map_json(video_map(truth, inputs.given, classes, rules))}
    if inputs.frames is not None:
        found = inputs.frames.as_frames() if isinstance(inputs.frames, Tubelets) else inputs.frames
        results.append(frame_map(truth, found, classes, rules))
        content["frame_mAP"] = map_json(results[-1])
        # The name that the published cases use.
        content["frame_mAP@0.5"] = content["frame_mAP"]["0.5"]
        if errors:
            content["frame_MABO"] = aps_json(frame_mabo(truth, found, classes, rules))
            kinds = frame_errors(truth, found, classes, rules, ERRORS_AT)
            content[f"frame_errors@{ERRORS_AT}"] = {k: aps_json(v) for k, v in kinds.shares.items()}
    content["videos"] = len(dataset.videos)
    content["notes"] = inputs.notes + published_failures(results)
    return content, results


def summary(inputs: Inputs, content: dict[str, Any], results: list[MapResult]) -> str:
    """Format a table by class with the mean and means of groups, in percent."""
    truths = np.bincount(inputs.truth.label, minlength=len(inputs.dataset.classes))
    lines = [table(results, dict(enumerate(truths.tolist())))]
    lines += [f"note: {note}" for note in content["notes"]]
    return "\n".join(lines)


def compare(inputs: Inputs) -> str:
    """Format a table of the results of every protocol on the same detections, in percent."""
    rows, head = [], []
    for protocol in PROTOCOLS.values():
        content, _ = evaluate(inputs, protocol.name, errors=False)
        figures = {f"video@{k}": v for k, v in content.get("video_mAP", {}).items()}
        figures |= {f"frame@{k}": v for k, v in content.get("frame_mAP", {}).items()}
        head = ["protocol", *figures, "published code"]
        fails = any("error" in figure for figure in figures.values())
        rows.append([protocol.name, *(_percent(f) for f in figures.values()), "fails" if fails else "runs"])
    return tabulate(rows, headers=head, tablefmt="pipe", disable_numparse=True)


def protocol_names() -> list[str]:
    """Return the names of all protocols, the default first."""
    return list(PROTOCOLS)


def _percent(figure: dict[str, Any]) -> str:
    return "-" if none_if_nan(figure["mean"] or 0.0) is None else f"{100 * (figure['mean'] or 0.0):.2f}"


def _open(dataset: TubeDataset, case: str | Path | None) -> TubeDataset:
    """The dataset for reading detections; without a json of videos, other videos may occur."""
    return dataset if case or any(v.frames for v in dataset.videos) else _AnyVideo(dataset.classes, ())


class _AnyVideo(TubeDataset):
    @property
    def names(self) -> None:  # type: ignore[override]
        return None


def _united(dataset: TubeDataset, truth: Tubes, *others):
    """Map all records to one list of videos, ground truth first; classes and lengths as far as known."""
    names = dict.fromkeys(dataset.names)
    for other in others:
        names.update(dict.fromkeys(other.videos if other is not None else ()))
    index = {name: i for i, name in enumerate(names)}

    def moved(record):
        if record is None:
            return None
        to = np.array([index[name] for name in record.videos], dtype=np.int64)
        return replace(record, videos=tuple(names), video=to[record.video] if len(record) else record.video)

    known = {video.name: video for video in dataset.videos}
    highest = max(
        [len(dataset.classes), *(int(o.label.max(initial=-1)) + 1 for o in others if o is not None)]
    )
    classes = dataset.classes + tuple(str(c) for c in range(len(dataset.classes), highest))
    # Only where the classes came from a csv; a published ground truth names all its classes.
    if any(v.frames for v in dataset.videos):
        classes = dataset.classes
    united = TubeDataset(classes, tuple(known.get(name, VideoInfo(name)) for name in names))
    return united, moved(truth), *(moved(other) for other in others)
