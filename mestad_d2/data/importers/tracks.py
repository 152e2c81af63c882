"""The labels of an annotation tool: people on frames, drawn by hand or interpolated."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Tags:
    """The annotations of a box: ``labels`` by name, ``attributes`` as (name, text); tick boxes are true or false."""

    labels: tuple[str, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Mark:
    """A box of a track on one frame.

    Attributes:
        frame: number of the frame in the tool's counting, moved so that the file's first frame is 0.
        box: x1, y1, x2, y2 as fractions of width and height.
        tags: its annotations.
        visible: the person is there on this frame.
        lasts: the person is there from this frame to the next mark, and after the last one to the end.
        drawn: a person drew it; false where the tool interpolated.
    """

    frame: float
    box: Box
    tags: Tags
    visible: bool = True
    lasts: bool = False
    drawn: bool = True


@dataclass
class Track:
    """One person (or one box without a person id, ``person_id`` -1) over time."""

    person_id: int
    marks: list[Mark] = field(default_factory=list)

    @cached_property
    def frames(self) -> list[float]:
        """Frames of the marks, ascending; the marks are put in this order."""
        self.marks.sort(key=lambda mark: mark.frame)
        return [mark.frame for mark in self.marks]

    def at(self, frame: float) -> Mark | None:
        """Return the person on a frame: interpolated between two marks, constant after the last; None if absent."""
        after = bisect_right(self.frames, frame)
        if not after:
            return None
        before = self.marks[after - 1]
        if before.frame == frame:
            return before if before.visible else None
        if not before.lasts:
            return None
        if after == len(self.marks):
            return before
        following = self.marks[after]
        weight = (frame - before.frame) / (following.frame - before.frame)
        box = tuple(a + weight * (b - a) for a, b in zip(before.box, following.box, strict=True))
        return Mark(frame, box, before.tags, drawn=False)


@dataclass
class LabelledVideo:
    """The labels of one video.

    Attributes:
        video_id: name of the video without folder of the tool and without suffix.
        source: where the tool says the video is; two videos of one id are told apart by it.
        frames: numbers of the frames that annotators could see, ascending, in the counting of the marks.
        tracks: people.
        fps: frames per second of the tool's counting; None: it counts the frames of the file.
        length: number of frames that the tool takes the file to have; None: not known.
    """

    video_id: str
    source: str
    frames: Sequence[float]
    tracks: list[Track]
    fps: float | None = None
    length: int | None = None

    def drawn(self) -> list[float]:
        """Return the frames with a visible box that was drawn by hand, ascending."""
        looked_at = set(self.frames)
        found = {m.frame for track in self.tracks for m in track.marks if m.drawn and m.visible}
        return sorted(found & looked_at)


@dataclass
class Labels:
    """All that was read from one file.

    Attributes:
        videos: in the order of the file.
        kinds: of declared attributes by name: checkbox, select, radio, text or number.
        ids: the numbers that the tool gives to its labels, by name; empty where it gives none.
        options: names that may occur, in the order of their declaration.
        left_out: how many shapes were left out, by what they are.
    """

    videos: list[LabelledVideo]
    kinds: dict[str, str] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
