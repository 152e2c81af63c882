"""Tubes of a video as csv, json and ribbons over a time axis."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mestad_d2.formats.files import write_text
from mestad_d2.formats.tubes.csv_files import write_tubes
from mestad_d2.formats.tubes.records import tubes_of
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.results.timeline import Actor, write_timeline
from mestad_d2.inference.tubes.video_tubes import ActionTube

ENDINGS = ("_tubes.csv", "_tubes.json", "_tubes.png")


def tube_json(tube: ActionTube, names: ActionNames) -> dict:
    """Convert a tube to plain values: action, start, end, score, and a box in pixels for each key frame."""
    return {
        "action": names[tube.action_id],
        "action_id": tube.action_id,
        "track_id": tube.track_id,
        "start": round(tube.start, 3),
        "end": round(tube.end, 3),
        "score": round(tube.score, 4),
        "boxes": [
            {"timestamp": round(float(time), 3), "box": [round(float(v), 1) for v in box]}
            for time, box in zip(tube.times, tube.boxes, strict=True)
        ],
    }


def tube_line(video_id: str, tube: ActionTube, names: ActionNames) -> str:
    """Format a tube as a self-contained line of JSON."""
    return json.dumps({"video": video_id, "tube": tube_json(tube, names)}) + "\n"


def shown(tubes: Iterable[ActionTube], names: ActionNames, threshold: float) -> list[ActionTube]:
    """Return the tubes of at least ``threshold`` whose actions are shown, sorted by start."""
    kept = [tube for tube in tubes if tube.score >= threshold and names.shown(tube.action_id)]
    return sorted(kept, key=lambda tube: (tube.start, tube.track_id, tube.action_id))


def write_tubes_csv(path: Path, video_id: str, tubes: Sequence[ActionTube], fps: float) -> None:
    """Write a row for every frame of the video, boxes interpolated between key frames.

    ``tools/evaluate_tubes.py`` reads it: frames count from 1, ``class`` is the action id - 1.
    """
    parts = []
    for tube in sorted(tubes, key=lambda tube: -tube.score):
        first, last = int(np.ceil(tube.start * fps - 1e-6)), int(np.floor(tube.end * fps + 1e-6))
        frames = np.arange(first, max(last, first) + 1)
        parts.append((0, tube.action_id - 1, tube.score, frames + 1, tube.at(frames / fps)))
    write_tubes(path, tubes_of((video_id,), parts))


def write_tubes_json(path: Path, video_id: str, tubes: Sequence[ActionTube], names: ActionNames) -> None:
    """Write ``{"video", "tubes": [{action, action_id, track_id, start, end, score, boxes}]}``."""
    content = {"video": video_id, "tubes": [tube_json(tube, names) for tube in tubes]}
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_ribbons(path: Path, tubes: Sequence[ActionTube], names: ActionNames, end: float) -> None:
    """Draw the tubes as ribbons over a time axis: a block of rows a person, darker where the score is higher."""
    actors: dict[int, Actor] = {}
    for tube in tubes:
        actor = actors.setdefault(tube.track_id, Actor(tube.track_id))
        actor.actions.setdefault(names[tube.action_id], []).append((tube.start, tube.end, tube.score))
    for number, actor in actors.items():
        actor.seen = _united([(t.start, t.end) for t in tubes if t.track_id == number])
    write_timeline(path, list(actors.values()), max([end, *(tube.end for tube in tubes)]))


def write_all(
    stem: Path, tubes: Sequence[ActionTube], names: ActionNames, threshold: float, fps: float, end: float
) -> None:
    """Write ``STEM_tubes.csv`` with all tubes, and json and ribbons of those above the threshold."""
    paths = [stem.with_name(stem.name + ending) for ending in ENDINGS]
    write_tubes_csv(paths[0], stem.name, tubes, fps)
    write_tubes_json(paths[1], stem.name, shown(tubes, names, threshold), names)
    write_ribbons(paths[2], shown(tubes, names, threshold), names, end)


def _united(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    whole: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if whole and start <= whole[-1][1]:
            whole[-1] = (whole[-1][0], max(whole[-1][1], end))
        else:
            whole.append((start, end))
    return whole
