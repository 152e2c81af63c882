"""The kinds of faults of the dataset check, and its report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from mestad_d2.data.check.label_changes import LabelChanges
from mestad_d2.formats.ava_csv import FAULTS

# Kind -> what to do about it.
KINDS = {
    **FAULTS,
    "outside": "cut the box to [0, 1]",
    "layout": "write x1,y1,x2,y2: add x to the width and y to the height",
    "num_classes": "set MODEL.ROI_ACTION_HEAD.NUM_CLASSES to the largest id",
    "unknown_id": "add the id to the label map, or remove the row",
    "duplicate": "remove the second row",
    "nearly_equal": "write the same box: the two differ by rounding only",
    "person_twice": "one person has one box in a frame: give the second one another id",
    "no_rows": "put rows into the file",
    "label_map": "mend the label map",
    "exclusions": "write video,timestamp of key frames that the annotations have",
    "video_id": "rename the video: ids must not leave the folder of videos",
    "setting": "give START and FPS as numbers, or a csv with a row of each video",
    "missing_video": "put the file there, or exclude its key frames (--fix-exclude)",
    "unreadable_video": "mend it as the line says, or exclude its key frames (--fix-exclude)",
    "damaged_end": "fetch or encode it anew, or exclude these key frames (--fix-exclude)",
    "outside_video": "check START and the unit of the timestamps, or exclude these (--fix-exclude)",
    "frame_rate": "encode at 10 frames a second or more; actions can't be seen otherwise",
    "missing_frames": "extract the frames anew",
    "video_in_both": "remove the video from one of the two sets: test videos must not be trained on",
    "class_only_in_test": "label examples of it in the training set, or remove it from the test set",
    "person_boxes": "correct the file of person boxes",
    "tubes": "correct the file of tubes",
    "unequal_frames": "extract the frames anew, all of one size",
}
# Kinds of faults that excluding the key frame also solves.
EXCLUDABLE = ("missing_video", "unreadable_video", "damaged_end", "outside_video")


@dataclass(frozen=True)
class Fault:
    """One fault: its kind, its place, and what was found."""

    kind: str
    where: str
    text: str


@dataclass
class DatasetReport:
    """What was found: faults, rows of each action id, and numbers for a summary.

    ``files`` holds the path of each video, ``times`` its key frames (timestamp -> as written), ``peopled`` those with
    people. ``notes`` are no faults, but good to know. ``label_changes`` is None where too few people are seen
    twice. ``excludable`` holds the (video, timestamp as written) that can be left out instead of repaired.
    """

    faults: list[Fault] = field(default_factory=list)
    classes: Counter[int] = field(default_factory=Counter)
    names: dict[int, str] = field(default_factory=dict)
    videos: int = 0
    key_frames: int = 0
    rows: int = 0
    notes: list[str] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    times: dict[str, dict[float, str]] = field(default_factory=dict)
    peopled: set[tuple[str, float]] = field(default_factory=set)
    label_changes: LabelChanges | None = None
    excludable: dict[tuple[str, str], None] = field(default_factory=dict)

    def add(self, kind: str, where: str, text: str) -> None:
        """Note a fault."""
        self.faults.append(Fault(kind, where, text))
