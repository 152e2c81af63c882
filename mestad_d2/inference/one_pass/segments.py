"""Split a video into segments so that every key frame's whole clip lies in one of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mestad_d2.inference.clip_stream import stream_clips
from mestad_d2.inference.one_pass.grid import KeyframeGrid
from mestad_d2.video.clips import TIE
from mestad_d2.video.stream import StreamFrame


@dataclass(frozen=True)
class Segment:
    """Some key frames and the frames around them.

    Attributes:
        ticks: of its key frames, in order.
        first: tick of the first step of the slow pathway that may be a key frame.
        frames: resized (h, w, 3) uint8, of all shifts in order of time.
        height: of the frames as shown, in pixels.
        width: of the frames as shown, in pixels.
    """

    ticks: list[int]
    first: int
    frames: list[np.ndarray]
    height: int
    width: int


class _Watched:
    """Passes frames on and remembers the time of the last one."""

    def __init__(self, frames: Iterable[StreamFrame]) -> None:
        self.frames, self.last = frames, 0.0

    def __iter__(self) -> Iterator[StreamFrame]:
        for frame in self.frames:
            self.last = frame.time
            yield frame


def stream_segments(
    frames: Iterable[StreamFrame],
    times: Iterable[float],
    grid: KeyframeGrid,
    steps: int,
    resize: Callable[[StreamFrame], np.ndarray],
) -> Iterator[Segment]:
    """Yield segments with the key frames nearest to ``times``; parts of the film without any are skipped.

    Neighbouring segments share the frames of a clip. Frames before the film's first and after its last are
    those, repeated, as in clips. A frame is made a picture once.

    Args:
        frames: in order of time, starting at 0.
        times: increasing, in s, may be endless; those after the last frame give no key frame.
        grid: of the possible key frames.
        steps: of the slow pathway between the first key frames of two neighbouring segments.
        resize: frame -> (h, w, 3) uint8.
    """
    offsets, span = grid.offsets(steps), steps * grid.ticks_per_step
    groups = _grouped(grid.nearest(times), span)
    # One list of ticks for every segment that has begun: filled when the stream asks for its time.
    begun: list[tuple[int, list[tuple[int, float]]]] = []

    def starts() -> Iterator[float]:
        for number, ticks in groups:
            begun.append((number * span, ticks))
            yield number * span * grid.tick

    watched = _Watched(frames)
    for clip in stream_clips(watched, starts(), offsets, resize):
        first, ticks = begun.pop(0)
        last = math.floor(watched.last / grid.tick + TIE)
        # A time at the very end may be nearest to a tick that comes after the last frame.
        ticks = sorted({min(tick, last) for tick, time in ticks if time <= watched.last + TIE})
        ticks = [tick for tick in ticks if tick >= first]
        if not ticks:
            continue
        used = (ticks[-1] - first) // grid.ticks_per_step + 1
        count = grid.frames(used) * grid.shifts
        yield Segment(ticks, first, clip.frames[:count], clip.height, clip.width)


def _grouped(ticks: Iterator[tuple[int, float]], span: int) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """(number of the segment, its ticks with the times they stand for); the stream may be endless."""
    for number, group in itertools.groupby(ticks, key=lambda pair: pair[0] // span):
        yield number, list(group)
