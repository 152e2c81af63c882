"""Read corrections in other CVAT formats: CVAT for images, or a label for each action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mestad_d2.data.importers.actions import NUMBERED, choose_rule
from mestad_d2.data.importers.cvat import read_cvat as read_any_cvat
from mestad_d2.data.importers.rows import people_of
from mestad_d2.densify.formats.coco import PLACES, VideoFacts
from mestad_d2.densify.formats.csv_files import check_row
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow


@dataclass(frozen=True)
class _OneSize:
    video: VideoFacts

    def get(self, video_id: str) -> tuple[float, float]:
        return float(self.video.width), float(self.video.height)


def read_other_cvat(
    path: Path, video: VideoFacts, before: Sequence[AnnotationRow], names: Mapping[int, str]
) -> list[AnnotationRow]:
    """Read the rows of a CVAT xml in another format than the uploaded one.

    Args:
        path: the xml.
        video: the one that it is of.
        before: rows of the video that were to be corrected. Their frames count, and those with a new box;
            rows of frames that the xml does not list stay as they are.
        names: actions by id, for labels and attributes without a number.

    Raises:
        UserError: no box in it has an action that is known; more than one video in it.
    """
    labels = read_any_cvat(path, _OneSize(video))
    if len(labels.videos) != 1:
        raise UserError(f"{path}: holds {len(labels.videos)} videos; export the task of this video alone")
    (found,), rule = labels.videos, choose_rule([labels])
    ids = {name: number for number, name in names.items()}
    listed = set(found.frames)
    timestamps = {video.frame(row.timestamp): row.timestamp for row in before}
    rows: list[AnnotationRow] = []
    unknown: Counter[str] = Counter()
    for frame in sorted({*found.drawn(), *(f for f in timestamps if f in listed)}):
        if frame >= len(video.times):
            raise UserError(f"{path}: frame {frame:g}, where {video.file_name} has {len(video.times)} frames")
        shown = [(t.person_id, mark) for t in found.tracks if (mark := t.at(frame)) is not None]
        time = timestamps.get(int(frame)) or f"{video.times[int(frame)] + video.start:.6f}"
        for person, box, actions in people_of(shown, rule, Counter()):
            place = tuple(round(value, PLACES) for value in box)
            for action, sure in actions.items():
                number = NUMBERED.fullmatch(action)
                action_id = int(number[1]) if number else ids.get(action)
                if action_id is None:
                    unknown[action] += 1
                else:
                    row = AnnotationRow(video.video_id, time, place, action_id, person, sure)
                    rows.append(check_row(row, f"{path}: frame {frame:g}"))
    some = ", ".join(map(repr, list(unknown)[:3]))
    if unknown:
        raise UserError(
            f"{path}: {some}: no such action is known; give the label map as --labels, or export CVAT for video 1.1 "
            "of a task that was made with labels.json"
        )
    if not rows:
        raise UserError(
            f"{path}: no box with an action in it; export CVAT for video 1.1, or take the rows of this video out of "
            "--annotations if nobody is in it"
        )
    return [row for row in before if video.frame(row.timestamp) not in listed] + rows
