"""Overlapping clips from one pass over the frames, and a background thread."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from mestad_d2.video.clips import TIE, later_is_nearer
from mestad_d2.video.stream import StreamFrame

T = TypeVar("T")


@dataclass(frozen=True)
class KeyframeClip:
    """``frames``: T resized (H, W, 3) uint8; ``height``, ``width``: of the frame as shown; ``timestamp`` in s."""

    timestamp: float
    frames: list[np.ndarray]
    height: int
    width: int


class _Held:
    """A frame that is resized on first use; only the small picture is kept."""

    def __init__(self, frame: StreamFrame, resize: Callable[[StreamFrame], np.ndarray]) -> None:
        self.time, self.size = frame.time, frame.size
        self._frame, self._resize = frame, resize
        self._small: np.ndarray | None = None

    def small(self) -> np.ndarray:
        if self._small is None:
            self._small, self._frame = self._resize(self._frame), None
        return self._small


class _Pending:
    def __init__(self, key: float, offsets: np.ndarray) -> None:
        self.key = key
        self.targets = (key + offsets).tolist()
        self.frames: list[np.ndarray] = []

    def offer(self, before: _Held | None, now: _Held) -> bool:
        """Fill the places whose nearest frame is known; true once the clip is complete."""
        while len(self.frames) < len(self.targets):
            target = self.targets[len(self.frames)]
            if target > now.time:
                return False
            later = before is None or later_is_nearer(before.time, now.time, target)
            self.frames.append((now if later else before).small())
        return True

    def finish(self, last: _Held) -> None:
        self.frames += [last.small()] * (len(self.targets) - len(self.frames))


def stream_clips(
    frames: Iterable[StreamFrame],
    keys: Iterable[float],
    offsets: np.ndarray,
    resize: Callable[[StreamFrame], np.ndarray],
) -> Iterator[KeyframeClip]:
    """Yield clips around key frames: nearest frame to each time, clamped at both ends of the video.

    A frame is made a picture and resized at most once, and only if a clip needs it. What is held at a time are the clips
    that have begun and two frames, so that memory does not grow with the video.

    Args:
        frames: in order of time, starting at 0.
        keys: increasing times in s, may be endless; those after the last frame give no clip.
        offsets: (T,) increasing times of a clip's frames, in s from the key frame.
        resize: frame -> (h, w, 3) uint8.
    """
    keys = iter(keys)
    upcoming = next(keys, None)
    pending: deque[_Pending] = deque()
    before = now = None
    for frame in frames:
        before, now = now, _Held(frame, resize)
        while upcoming is not None and upcoming + offsets[0] <= now.time:
            pending.append(_Pending(upcoming, offsets))
            upcoming = next(keys, None)
        for clip in pending:
            clip.offer(before, now)
        while pending and len(pending[0].frames) == len(offsets):
            yield _done(pending.popleft(), now)
    for clip in pending:
        # A key frame may lie after the last frame by float rounding only.
        if now is not None and clip.key <= now.time + TIE:
            clip.finish(now)
            yield _done(clip, now)


def _done(clip: _Pending, now: _Held) -> KeyframeClip:
    return KeyframeClip(clip.key, clip.frames, *now.size)


def key_times(per_second: float) -> Iterator[float]:
    """Yield 0, 1 / per_second, 2 / per_second ... without summed rounding errors."""
    return (index / per_second for index in itertools.count())


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of ``size`` items; the last one may be shorter."""
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def in_background(items: Iterable[T], ahead: int) -> Iterator[T]:
    """Yield items made by a thread at most ``ahead`` items in front; its errors are raised here."""
    box: queue.Queue = queue.Queue(maxsize=ahead)
    stop, end = threading.Event(), object()

    def put(item: object) -> bool:
        while not stop.is_set():
            try:
                box.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((end, None))
        except BaseException as error:  # raised again where the items are used
            put((end, error))
        finally:
            # A file must not stay open until garbage collection.
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = box.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        thread.join()
