"""How fast labels change between key frames: whether training on the frames between can gain anything."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.formats.people import people_of
from mestad_d2.semisup.actors import KeyFrame, pair_people

# Fewer people seen twice tell nothing.
ENOUGH = 20
# Between the points that were measured (docs/tla.md): from here on labels can be copied; below, they can't be guessed.
STEADY, FAST = 0.95, 0.6
# A person whose next key frame is further away than this many median gaps is not followed.
FOLLOWED = 1.5


@dataclass(frozen=True)
class LabelChanges:
    """What key frames tell of the time between them.

    Attributes:
        gap: median distance of neighbouring key frames, in s.
        people: people who are on two neighbouring key frames.
        unchanged: share of them with the same set of actions on both.
    """

    gap: float
    people: int
    unchanged: float

    @property
    def unchanged_after_half(self) -> float:
        """Share of label sets that are still the same half a gap later, if changes come at any time alike."""
        return float(np.sqrt(self.unchanged))

    def __str__(self) -> str:
        return (
            f"{self.unchanged:.0%} of {self.people} people do the same on the next key frame, {self.gap:g} s later, "
            f"so about {self.unchanged_after_half:.0%} of label sets hold halfway: {self.advice}"
        )

    @property
    def advice(self) -> str:
        """What that means for training on the frames between; the figures are those of docs/tla.md."""
        if self.unchanged_after_half >= STEADY:
            return "the nearer key frame's labels are right nearly everywhere; pseudo labels add frames, no labels"
        if self.unchanged_after_half < FAST:
            return "labels change faster than they come, one pseudo label set in four was wrong then; label more often"
        return "pseudo labels can help once more iterations on labelled clips do not (docs/tla.md)"


def label_changes(rows: Iterable[AnnotationRow]) -> LabelChanges | None:
    """Compare every person's actions with those on the next key frame.

    People are paired by person id, and without ids by overlap. None where too few people are seen twice.
    """
    frames: dict[str, dict[float, list[AnnotationRow]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        frames[row.video_id][row.timestamp].append(row)
    videos = [_key_frames(times) for times in frames.values()]
    gaps = [b.time - a.time for keys in videos for a, b in zip(keys, keys[1:], strict=False)]
    if not gaps:
        return None
    gap = float(np.median(gaps))
    same = [
        actor.left.actions == actor.right.actions
        for keys in videos
        for a, b in zip(keys, keys[1:], strict=False)
        if b.time - a.time <= FOLLOWED * gap
        for actor in pair_people(a, b)
        if actor.left is not None and actor.right is not None
    ]
    if len(same) < ENOUGH:
        return None
    return LabelChanges(gap, len(same), float(np.mean(same)))


def _key_frames(times: Mapping[float, list[AnnotationRow]]) -> list[KeyFrame]:
    return [KeyFrame(time, tuple(people_of(rows))) for time, rows in sorted(times.items())]
