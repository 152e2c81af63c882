"""Cut actions out of a person's track by their scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_closing, uniform_filter1d


@dataclass(frozen=True)
class CutSettings:
    """How actions are cut out of tracks; lengths in frames (key frames of a video that is detected).

    Attributes:
        window: scores are averaged over so many frames first.
        share: an action is on where its averaged score is at least this share of its best one in the track.
        least_score: ... and at least this.
        bridge: pauses up to this long don't end an action.
        least_length: shorter stretches are dropped, unless they are the whole track.
        score_best: a tube's score is the mean of so many best ones, so that long tubes do not score lower.
    """

    window: int = 5
    share: float = 0.3
    least_score: float = 0.01
    bridge: int = 8
    least_length: int = 8
    score_best: int = 40

    @classmethod
    def at_rate(cls, rate: float) -> CutSettings:
        """Return the same settings in seconds for ``rate`` key frames per second; the defaults are for 25."""
        scale = rate / 25
        return cls(
            window=max(round(cls.window * scale), 1),
            bridge=round(cls.bridge * scale),
            least_length=max(round(cls.least_length * scale), 1),
            score_best=max(round(cls.score_best * scale), 1),
        )


@dataclass(frozen=True)
class Cut:
    """A stretch ``rows`` of a track in which the action ``label`` (from 0) is on, and its score."""

    label: int
    rows: slice
    score: float


def filled(
    frames: np.ndarray, boxes: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fill the gaps of a track: boxes (n, 4) and scores (n, A) of missing frames are interpolated linearly.

    Args:
        frames: (n,) increasing whole numbers.
    """
    whole = np.arange(frames[0], frames[-1] + 1)
    if len(whole) == len(frames):
        return frames, boxes, scores
    right = np.searchsorted(frames, whole)
    left = np.maximum(right - (frames[right] != whole), 0)
    weight = ((whole - frames[left]) / np.maximum(frames[right] - frames[left], 1))[:, None]
    return (
        whole,
        (1 - weight) * boxes[left] + weight * boxes[right],
        (1 - weight) * scores[left] + weight * scores[right],
    )


def cut_track(scores: np.ndarray, settings: CutSettings) -> list[Cut]:
    """Cut the actions out of a track without gaps.

    Args:
        scores: (n, A) action scores of each frame.

    Returns:
        cuts by class and time.
    """
    smooth = uniform_filter1d(scores, min(settings.window, len(scores)), axis=0, mode="nearest")
    best = smooth.max(0)
    cuts = []
    for label in np.flatnonzero(best >= settings.least_score).tolist():
        on = smooth[:, label] >= max(settings.share * best[label], settings.least_score)
        if settings.bridge > 0:
            # Padded, as a closing would otherwise shorten the ends.
            pad = settings.bridge + 1
            on = binary_closing(np.pad(on, pad), np.ones(settings.bridge + 1))[pad:-pad] | on
        edges = np.flatnonzero(np.diff(np.pad(on.astype(np.int8), 1)))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if end - start >= settings.least_length or end - start == len(scores):
                best_ones = np.sort(scores[start:end, label])[-settings.score_best :]
                cuts.append(Cut(label, slice(start, end), float(best_ones.mean())))
    return cuts
