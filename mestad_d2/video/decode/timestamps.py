"""Repair time stamps of packets: recordings joined by ``cat``, and single stamps that jump.

Decoding times (dts) ascend in every intact file. Where they go back for good, another recording begins, whose
times are shifted to follow those before, as players do. A single stamp that jumps and comes back is put between its
neighbours. A jump ahead that stays is a pause of the recording and is kept, except in formats of broadcasts, where
FFmpeg too takes more than 10 s for the beginning of another recording.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

import av
from av.format import Flags

# A stamp this far from its neighbours, in s, has jumped.
JUMP = 1.0
# A frame is shown at most this many packets after its own: twice the 16 frames that codecs reorder.
REORDERED = 32
# FFmpeg's dts_delta_threshold, in s, for formats whose stamps may begin anew.
NEW_RECORDING = 10.0


class SteadyStamps:
    """Repairs the stamps of one stream's packets, in the order in which they are stored.

    Args:
        stream: the packets are of.
        fps: packets a second.

    Attributes:
        offset: ticks that are currently added to the stamps.
        repaired_at: s from the first packet to the first wrong stamp; None: all were right.
    """

    def __init__(self, stream: av.stream.Stream, fps: float) -> None:
        self.unit = float(stream.time_base)
        self.step = max(round(1 / fps / self.unit), 1)
        self.jump = JUMP / self.unit
        # Where a file lists all its frames, these times ascend; those of several edits need not.
        self.indexed = stream.container.format.name.startswith("mov")
        broadcast = may_begin_anew(stream.container.format)
        self.longest_pause = NEW_RECORDING / self.unit if broadcast else float("inf")
        self.offset = 0
        self.repaired_at: float | None = None
        self._first, self._last, self._shown = 0, None, None
        self._delay: int | None = None

    def __call__(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """Yield the same packets with steady time stamps; packets without stamps pass unchanged."""
        ahead: deque[av.Packet] = deque()

        def peek(count: int) -> list[av.Packet]:
            ahead.extend(islice(packets, max(count - len(ahead), 0)))
            return [packet for packet in list(ahead)[:count] if packet.size and packet.dts is not None]

        while True:
            packet = ahead.popleft() if ahead else next(packets, None)
            if packet is None:
                return
            if packet.size and packet.dts is not None:
                self._repair(packet, peek)
            yield packet

    def _repair(self, packet: av.Packet, peek: Callable[[int], list[av.Packet]]) -> None:
        stored, before = packet.dts, self.offset
        dts = self._steady_dts(packet, peek)
        if packet.pts is not None:
            pts = packet.pts + dts - stored
            if self._delay is not None and self.offset == before and self._is_wrong(packet, peek):
                pts = dts + self._delay
                self._wrong(dts)
            # After a pause the first frames lag by all of it, so their delay is not used for others.
            if self._delay is None or pts - dts - self._delay <= self.jump:
                self._delay = pts - dts
            self._shown = pts if self._shown is None else max(self._shown, pts)
            if pts != packet.pts:
                packet.pts = pts
        if dts != stored:
            packet.dts = dts
        # FFmpeg computes the decoding times of formats that store none; they are out of order by some frames.
        self._last = dts if self._last is None else max(self._last, dts)

    def _is_wrong(self, packet: av.Packet, peek: Callable[[int], list[av.Packet]]) -> bool:
        """Whether only this frame's time has jumped: no later packet comes near it, unlike after a pause."""
        late = packet.pts - packet.dts - self._delay
        if packet.pts - packet.dts < -self.jump:
            # Shown before it is decoded.
            return True
        if late <= self.jump:
            return False
        following = [p for p in peek(REORDERED) if p.pts is not None]
        reached = any(p.dts >= packet.pts - self.jump for p in following)
        return (
            bool(following) and not reached and following[0].pts - following[0].dts - self._delay <= self.jump
        )

    def _steady_dts(self, packet: av.Packet, peek: Callable[[int], list[av.Packet]]) -> int:
        dts, last = packet.dts + self.offset, self._last
        if last is None:
            self._first = dts
            return dts
        if self.indexed or abs(dts - last) <= self.jump:
            return dts
        back, following = dts < last, peek(1)
        after = following[0].dts + self.offset if following else None
        comes_back = after is not None and abs(after - last) <= self.jump
        if comes_back and (back or after < dts):
            self._wrong(last)
            return min(last + self.step, (last + max(after, last)) // 2)
        if back or dts - last > self.longest_pause:
            self._wrong(last)
            shift = last + self.step - dts
            if packet.pts is not None and self._shown is not None:
                # Its first frame follows the last one shown, whatever the delays of both are.
                shift = max(shift, self._shown + self.step - packet.pts - self.offset)
            self.offset += shift
            return dts + shift
        return dts

    def _wrong(self, stamp: int) -> None:
        if self.repaired_at is None:
            self.repaired_at = (stamp - self._first) * self.unit


def may_begin_anew(container_format: av.ContainerFormat) -> bool:
    """Return whether time stamps of a format may restart within a file, as in broadcasts and parts of discs."""
    return bool(container_format.flags & Flags.ts_discont.value)


def counts_frames(container: av.container.InputContainer, stream: av.VideoStream) -> bool:
    """Return whether frames must be counted: AVI has no time stamps, and computed ones are wrong with B-frames."""
    return container.format.name == "avi" and stream.codec.name in ("h264", "hevc")
