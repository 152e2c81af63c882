"""A video's detections, cut at its key frames: what is labelled, and what calibrates the labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mestad_d2.densify.key_frames import KeyFrame, stretches
from mestad_d2.people import People
from mestad_d2.semisup.actors import StretchDetections
from mestad_d2.video.clips import nearest_indices
from mestad_d2.video.source import VideoSource


@dataclass(frozen=True)
class DetectedStretch(StretchDetections):
    """The teacher's detections from one key frame to the next, on the key frames' own frames too.

    Attributes:
        frames: (F,) numbers in the video.
        between: (F,) bool, False on the key frames' own frames.
    """

    frames: tuple[int, ...]
    between: np.ndarray


@dataclass(frozen=True)
class DetectedVideo:
    """A video's detections by key frame and by stretch.

    Attributes:
        source: its ``start`` is the timestamp of the first frame, in s.
        times: (F,) of all frames in s since the first.
        on_key_frames: key frames with the teacher's people on them.
        stretches: between neighbouring key frames.
        left_out: stretches over a key frame, as if it were not annotated, and that key frame.
    """

    video_id: str
    source: VideoSource
    times: np.ndarray
    on_key_frames: list[tuple[KeyFrame, People]]
    stretches: list[DetectedStretch]
    left_out: list[tuple[DetectedStretch, KeyFrame]]


def cut_at_key_frames(
    video_id: str,
    source: VideoSource,
    times: np.ndarray,
    keys: list[KeyFrame],
    people: dict[int, People],
    max_gap: float,
) -> DetectedVideo:
    """Cut a video's detections into stretches.

    Args:
        keys: in order of time.
        people: the teacher's by frame number, on those frames that get labels and on key frames.
        max_gap: key frames further apart, in s, are no neighbours.
    """
    nearest = nearest_indices(times, [key.time - source.start for key in keys]).tolist()
    frame_of = {key.time: frame for key, frame in zip(keys, nearest, strict=True)}
    known = sorted(people)

    def cut(left: KeyFrame, right: KeyFrame) -> DetectedStretch:
        low, high = frame_of[left.time], frame_of[right.time]
        frames = [frame for frame in known if low <= frame <= high]
        found = [people[frame] for frame in frames]
        between = np.array([low < frame < high for frame in frames], dtype=bool)
        return DetectedStretch(
            video_id, left, right, times[frames] + source.start, found, tuple(frames), between
        )

    pairs = stretches(keys, max_gap)
    return DetectedVideo(
        video_id,
        source,
        times,
        [(key, people[frame_of[key.time]]) for key in keys if frame_of[key.time] in people],
        [cut(left, right) for left, right in pairs],
        [(cut(a, c), b) for (a, b), (again, c) in zip(pairs, pairs[1:], strict=False) if again is b],
    )
