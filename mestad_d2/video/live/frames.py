"""Frames of a stream as they come: late ones are dropped, and a lost connection is opened again."""

from __future__ import annotations

import itertools
import logging
import math
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import av

from mestad_d2.errors import UserError
from mestad_d2.video.decode.container import MAX_PIXELS, reason
from mestad_d2.video.live.address import TIMEOUT, open_address, shown_address
from mestad_d2.video.pictures import PictureMaker, pixel_aspect
from mestad_d2.video.stream import DecodedFrame

logger = logging.getLogger(__name__)

# Seconds of a live stream that wait for the model at most: more than most clips last.
LATENCY = 3.0
# Connections that are tried in a row without a frame, once the stream was lost.
TRIES = 5
# Frames of a file that are decoded ahead.
AHEAD = 16


class LiveFrames:
    """The frames of an address, read by a thread of its own; iterate over it once.

    A stream without an end is live: what nobody takes within ``latency`` is dropped, and a connection that is lost is
    opened again. A file at an address is read whole, at the speed of whoever takes its frames.

    Args:
        address: ``rtsp://`` or ``http(s)://``.
        seconds: of the stream after which it ends.
        latency: see above, in s.
        tries: connections in a row without a frame, before a lost stream has ended.
        wait: s before the first new connection; doubled for each further one.
        timeout: s to wait for an answer or a packet.

    Attributes:
        live: whether the stream has no end of its own.
        dropped: frames that were dropped.

    Raises:
        UserError: no video comes from the address.
    """

    def __init__(
        self, address: str, seconds: float = math.inf, *, latency: float = LATENCY, tries: int = TRIES,
        wait: float = 0.5, timeout: float = TIMEOUT,
    ) -> None:  # fmt: skip
        self.address, self.seconds, self.latency = address, seconds, latency
        self.tries, self.wait, self.timeout = tries, wait, timeout
        self.name = shown_address(address)
        self.dropped = 0
        self._container: av.container.InputContainer | None = open_address(address, timeout)
        if not self._container.streams.video:
            self._container.close()
            raise UserError(f"{self.name}: no picture comes from this address; give that of a video")
        self.live = address.lower().startswith("rtsp") or self._container.duration is None
        self._waiting: deque[DecodedFrame] = deque()
        self._changed, self._stopped, self._ended = threading.Condition(), threading.Event(), False
        # Times of the last frame that came, and of the first one behind those dropped.
        self._last, self._resumed = -1.0, 0.0
        self._began: float | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def stop(self) -> None:
        """End the stream; frames that came already are not given any more."""
        self._stopped.set()
        if self._thread.ident is None and self._container is not None:
            self._container.close()

    def key_times(self, per_second: float) -> Iterator[float]:
        """Yield 0, 1 / per_second ..., without those in a part of the stream that was dropped."""
        for index in itertools.count():
            if index / per_second >= self._resumed:
                yield index / per_second

    def __iter__(self) -> Iterator[DecodedFrame]:
        """Yield the frames; times in s since the first one."""
        self._thread.start()
        any_frame = False
        try:
            while (frame := self._next()) is not None:
                any_frame = True
                yield frame
        finally:
            self.stop()
        if not any_frame:
            raise UserError(f"{self.name}: no picture comes from this address; give that of a video")

    def _next(self) -> DecodedFrame | None:
        with self._changed:
            while not self._waiting:
                late = self.live and self._began is not None and self._elapsed() > self.seconds + self.latency
                if self._ended or self._stopped.is_set() or late:
                    return None
                self._changed.wait(0.1)
            frame = self._waiting.popleft()
            self._changed.notify_all()
        return None if self._stopped.is_set() or frame.time > self.seconds else frame

    def _elapsed(self) -> float:
        return time.monotonic() - (self._began or 0.0)

    def _read(self) -> None:
        failures = 0
        try:
            while not self._stopped.is_set():
                got, why = self._connection()
                failures = 0 if got else failures + 1
                if self._stopped.is_set() or (not self.live and not why):
                    return
                if failures >= self.tries or not self.live:
                    logger.warning(
                        "%s: ends here (%s); the results are of what came", self.name, why or "nothing more"
                    )
                    return
                logger.warning("%s: connection lost (%s); trying again", self.name, why or "closed")
                self._stopped.wait(self.wait * 2**failures)
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _connection(self) -> tuple[int, str]:
        """Read one connection to its end; the number of its frames, and why it ended, empty for an orderly end."""
        count = 0
        try:
            container, self._container = self._container or open_address(self.address, self.timeout), None
            with container:
                for frame in self._decoded(container):
                    count += 1
                    if not self._put(frame):
                        break
        except (av.FFmpegError, OSError, UserError) as error:
            return count, reason(error)
        return count, ""

    def _decoded(self, container: av.container.InputContainer) -> Iterator[DecodedFrame]:
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        make_picture = PictureMaker(self.name, pixel_aspect(stream), MAX_PIXELS)
        step, base, first = 1 / float(stream.average_rate or 30), None, None
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.InvalidDataError:
                # A stream is joined in the middle: until its next codec key frame nothing can be shown.
                continue
            for frame in frames:
                if base is None:
                    self._began = self._began or time.monotonic()
                    base, first = (
                        (0.0 if self._last < 0 else max(self._elapsed(), self._last + step)),
                        frame.time,
                    )
                now = (
                    base + frame.time - first
                    if frame.time is not None and first is not None
                    else self._last + step
                )
                if now > self._last:
                    self._last = now
                    yield DecodedFrame(now, make_picture.shown_size(frame), partial(make_picture, frame))

    def _put(self, frame: DecodedFrame) -> bool:
        """Hand a frame on; False once nobody wants more."""
        with self._changed:
            while not self.live and len(self._waiting) >= AHEAD and not self._stopped.is_set():
                self._changed.wait(0.1)
            self._waiting.append(frame)
            while self.live and frame.time - self._waiting[0].time > self.latency:
                self._waiting.popleft()
                self.dropped += 1
                self._resumed = self._waiting[0].time
            self._changed.notify_all()
        return not self._stopped.is_set() and frame.time <= self.seconds


@contextmanager
def ended_by_ctrl_c(live: LiveFrames) -> Iterator[None]:
    """Let the first Ctrl-C end a stream, so that what came of it is still detected and written."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: object) -> None:
        live.stop()
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
