"""The grid of possible key frames of one pass.

All frames of a pass lie on one grid of time, as far apart as those of a clip, and a key frame must be a step of
the slow pathway. Where more key frames are asked for, the slow pathway runs again from other frames (phases) over
the same fast pathway, and at last the whole backbone over frames between those of the grid (shifts).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mestad_d2.video.clips import TIE


@dataclass(frozen=True)
class KeyframeGrid:
    """Ticks of time, of which each can be a key frame; tick 0 is the first frame.

    Attributes:
        spacing: of two frames of a clip, in s.
        clip_frames: frames of a clip.
        stride: frames a step of the slow pathway.
        phases: how many runs of the slow pathway share a run of the fast one; divides ``stride``.
        shifts: how many runs of the backbone there are, on frames ``spacing / shifts`` s apart.
    """

    spacing: float
    clip_frames: int
    stride: int
    phases: int = 1
    shifts: int = 1

    @classmethod
    def for_rate(cls, spacing: float, clip_frames: int, stride: int, per_second: float) -> KeyframeGrid:
        """Return the grid with the fewest runs that has ``per_second`` key frames a second."""
        needed = max(math.ceil(per_second * spacing * stride - TIE), 1)
        phases = next((n for n in range(1, stride + 1) if stride % n == 0 and n >= needed), stride)
        return cls(spacing, clip_frames, stride, phases, math.ceil(needed / phases))

    @property
    def ticks_per_step(self) -> int:
        """Ticks in a step of the slow pathway."""
        return self.phases * self.shifts

    @property
    def tick(self) -> float:
        """Seconds between two ticks."""
        return self.spacing * self.stride / self.ticks_per_step

    def nearest(self, times: Iterable[float]) -> Iterator[tuple[int, float]]:
        """Return the tick nearest to each time, the earlier of a tie, with that time; each tick once.

        Args:
            times: increasing, in s; may be endless.
        """
        last = -1
        for time in times:
            tick = math.ceil(time / self.tick - 0.5 - TIE)
            if tick > last:
                yield tick, time
                last = tick

    def place(self, tick: int) -> tuple[int, int, int]:
        """Return a tick's step of the slow pathway, that pathway's first frame, and the shift."""
        step, rest = divmod(tick, self.ticks_per_step)
        phase, shift = divmod(rest, self.shifts)
        return step, phase * (self.stride // self.phases), shift

    def offsets(self, steps: int) -> np.ndarray:
        """Return times in s, from the first key frame, of all shifts' frames of a segment of ``steps`` steps."""
        count = self.frames(steps) * self.shifts
        return (np.arange(count) - self.clip_frames // 2 * self.shifts) * (self.spacing / self.shifts)

    def frames(self, steps: int) -> int:
        """Return the frames that one shift of so many steps needs: whole clips around the first and last key frame."""
        later = self.stride - self.stride // self.phases
        return self.stride * (steps - 1) + later + self.clip_frames
