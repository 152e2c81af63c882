"""Action tubes of a video during detection."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mestad_d2.inference.tubes.cutting import CutSettings
from mestad_d2.inference.tubes.ours import Tube, TubeLinker
from mestad_d2.people import People


@dataclass(frozen=True)
class ActionTube:
    """One action of one person over time.

    Attributes:
        track_id: of the person, as in ``People``.
        action_id: from 1.
        score: mean of the action's scores.
        times: (n,) s since the first frame, one a key frame, increasing.
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the frame as shown.
    """

    track_id: int
    action_id: int
    score: float
    times: np.ndarray
    boxes: np.ndarray

    @property
    def start(self) -> float:
        """Time of the first box."""
        return float(self.times[0])

    @property
    def end(self) -> float:
        """Time of the last box."""
        return float(self.times[-1])

    def at(self, times: np.ndarray) -> np.ndarray:
        """Interpolate boxes (k, 4) at times (k,) between start and end."""
        return np.stack([np.interp(times, self.times, side) for side in self.boxes.T], axis=1)


class VideoTubes:
    """Collect tubes from the key frames of a video as they come; memory doesn't grow with the video.

    Args:
        keyframes_per_second: rate of the key frames.
        max_gap: seconds that a person may be unseen; the tracker's own default.
    """

    def __init__(self, keyframes_per_second: float, max_gap: float = 2.0) -> None:
        gap = max(int(max_gap * keyframes_per_second + 1e-6), 1)
        self._linker = TubeLinker(gap, CutSettings.at_rate(keyframes_per_second))
        self._times: dict[int, float] = {}
        self._count = 0

    def update(self, found: People) -> list[ActionTube]:
        """Take the next key frame, with its track ids; returns the tubes that are complete."""
        self._times[self._count] = found.timestamp
        done = self._linker.update(self._count, found.track_ids, found.boxes, found.actions)
        tubes = [self._timed(tube) for tube in done]
        self._count += 1
        oldest = self._linker.oldest(self._count)
        for number in [n for n in self._times if n < oldest]:
            del self._times[number]
        return tubes

    def finish(self) -> list[ActionTube]:
        """End all tubes and return them."""
        return [self._timed(tube) for tube in self._linker.finish()]

    def _timed(self, tube: Tube) -> ActionTube:
        times = np.array([self._times[frame] for frame in tube.frames.tolist()])
        return ActionTube(tube.track_id, tube.label + 1, tube.score, times, tube.boxes)


def tubes_of_video(found: Iterable[People], keyframes_per_second: float) -> Iterator[ActionTube]:
    """Yield the tubes of tracked key frames, each as soon as it is complete."""
    tubes = VideoTubes(keyframes_per_second)
    for keyframe in found:
        yield from tubes.update(keyframe)
    yield from tubes.finish()
