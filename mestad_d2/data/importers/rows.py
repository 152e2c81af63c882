"""Convert key frames of labelled videos to rows."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from mestad_d2.data.importers.actions import ActionRule
from mestad_d2.data.importers.tracks import Box, LabelledVideo, Mark
from mestad_d2.data.prepare.rates import Clock
from mestad_d2.errors import UserError

# Corners of two boxes that differ by less are one box, drawn once for each action.
SAME_BOX = 2e-3
# Boxes that reach further beyond the frame, in shares of its size, are pixels of larger frames.
BEYOND = 0.5


@dataclass(frozen=True)
class KeyFrameRow:
    """A person with its actions on a key frame; without a box, a key frame without people."""

    video_id: str
    timestamp: float
    person_id: int = -1
    box: Box | None = None
    actions: tuple[tuple[str, float | None], ...] = ()


@dataclass
class Imported:
    """Rows, and what was left out on the way."""

    rows: list[KeyFrameRow] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    without_action: list[str] = field(default_factory=list)


def choose_frames(video: LabelledVideo, times: Sequence[float | None], rate: float | str) -> list[int]:
    """Choose the key frames; return their indices in ``video.frames``.

    Args:
        video: the labels.
        times: of ``video.frames``, in s; None where the file has no such frame.
        rate: key frames a second, or ``every`` frame, or ``drawn``: those with a box drawn by hand, or ``auto``:
            every frame where two a second or fewer were labelled, else one a second.
    """
    known = [place for place, time in enumerate(times) if time is not None]
    if rate == "auto":
        length = times[known[-1]] - times[known[0]] if known else 0.0
        rate = "every" if len(known) - 1 <= 2 * length * (1 + 1e-6) else 1.0
    if rate == "every":
        return known
    if rate == "drawn":
        wanted = set(video.drawn())
        return [place for place in known if video.frames[place] in wanted]
    stamps = [times[place] for place in known]
    chosen: dict[int, None] = {}
    # A millisecond of tolerance, as times come out of divisions.
    for number in range(int((stamps[-1] + 1e-3) * rate) + 1 if stamps else 0):
        target = number / rate
        after = bisect_left(stamps, target)
        near = [place for place in (after - 1, after) if 0 <= place < len(stamps)]
        best = min(near, key=lambda place: (abs(stamps[place] - target), place))
        # Half a step: frames that were not annotated have no key frame.
        if abs(stamps[best] - target) < 0.5 / rate:
            chosen.setdefault(known[best])
    return list(chosen)


def rows_of(
    video: LabelledVideo,
    rule: ActionRule,
    clock: Clock,
    rate: float | str,
    labels: Sequence[str] = (),
    default_action: str | None = None,
    into: Imported | None = None,
) -> Imported:
    """Make the rows of one video.

    Boxes of two tracks on one place are one person with the actions of both. A key frame with a person without known
    action is left out as a whole, since a frame without one of its people would be trained as background there.

    Args:
        video: the labels.
        rule: where the actions stand.
        clock: times of the frames.
        rate: see ``choose_frames``.
        labels: only boxes with one of these labels are people; empty: all are.
        default_action: of people without any other; None: see above.
        into: results so far, to which these are added.

    Raises:
        UserError: the frame rate is not known, or boxes lie far outside the frames.
    """
    result = into or Imported()
    if video.length is not None:
        clock.lengths = {**clock.lengths, video.video_id: video.length}
    times = clock.seconds(video.video_id, video.frames, video.fps)
    behind = sum(time is None for time in times)
    if behind:
        result.counts[f"frames behind the end of {video.video_id}"] += behind
    chosen = choose_frames(video, times, rate)
    passed = len({*video.drawn()} - {video.frames[place] for place in chosen})
    if passed and rate != "drawn":
        result.counts[
            "frames with boxes drawn by hand are not key frames (--rate drawn or every takes them)"
        ] += passed
    for place in chosen:
        frame, time = video.frames[place], times[place]
        shown = [(t.person_id, mark) for t in video.tracks if (mark := t.at(frame)) is not None]
        if labels:
            shown = [(p, mark) for p, mark in shown if set(mark.tags.labels) & set(labels)]
        people = people_of(shown, rule, result.counts)
        _check_inside(video, frame, people)
        if default_action is not None:
            people = [(p, box, actions or {default_action: None}) for p, box, actions in people]
        if any(not actions for _, _, actions in people):
            result.without_action.append(f"{video.video_id} at {time:.3f} s")
            continue
        result.counts["key frames"] += 1
        if not people:
            result.counts["key frames without people"] += 1
            result.rows.append(KeyFrameRow(video.video_id, time))
        result.rows += [
            KeyFrameRow(video.video_id, time, person, box, tuple(actions.items()))
            for person, box, actions in people
        ]
    return result


def people_of(
    shown: Sequence[tuple[int, Mark]], rule: ActionRule, counts: Counter[str]
) -> list[tuple[int, Box, dict[str, float | None]]]:
    """Return (person id, box, actions with confidence) of the people on a frame; equal boxes are one person.

    Args:
        shown: (person id, box) of each track on the frame.
        rule: where the actions stand.
        counts: takes the number of boxes that were drawn once for each action.
    """
    people: list[tuple[int, Box, dict[str, float | None]]] = []
    for person, mark in shown:
        actions = rule.actions(mark.tags)
        same = next((p for p in people if _same(p[1], mark.box)), None)
        if same is None:
            people.append((person, mark.box, dict(actions)))
            continue
        counts["boxes drawn once for each action"] += 1
        for action, sure in actions.items():
            same[2].setdefault(action, sure)
    return people


def _same(a: Box, b: Box) -> bool:
    return all(abs(x - y) < SAME_BOX for x, y in zip(a, b, strict=True))


def _check_inside(video: LabelledVideo, frame: float, people: Sequence[tuple[int, Box, dict]]) -> None:
    for _, box, _ in people:
        if max(box) > 1 + BEYOND:
            raise UserError(
                f"{video.source}: a box on frame {frame:g} reaches {max(box):.1f} times as far as the frame; give the size "
                "of the frames that the boxes were drawn on as --size WIDTHxHEIGHT"
            )
