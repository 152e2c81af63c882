"""Random access to the frames of one open video file, decoding no more than they need.

The packets' time stamps show which frames are nearest to the wanted times before anything is decoded. Decoding
starts at the codec's key frame before the first of them, skips unwanted frames that no other frame refers to, and
ends with the last frame wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain

import av
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.clips import TIE, later_is_nearer, nearest_indices
from mestad_d2.video.decode.container import MAX_PIXELS, open_video, reason
from mestad_d2.video.decode.joined import following_recording
from mestad_d2.video.decode.timestamps import SteadyStamps, counts_frames, may_begin_anew
from mestad_d2.video.pictures import PictureMaker, pixel_aspect

logger = logging.getLogger(__name__)

# Pictures below this size, in pixels, decode faster in one thread.
THREADED_AREA = 640 * 480
# A file that ends this many seconds before its header says is damaged.
LOST_END = 2.0


class VideoReader:
    """An open video file; time 0 is its first frame.

    Args:
        path: of the file.
        number: of the picture stream; None: the best one.
        max_pixels: larger pictures are refused.
        joined: whether time stamps restart within the file; None: find out.

    Attributes:
        size: height and width in pixels, as shown. fps: frames per second on average.
        duration: seconds by the header; 0 where it says nothing.

    Raises:
        UserError: no such file, or no frame in it.
    """

    def __init__(
        self, path: str, number: int | None = None, max_pixels: int = MAX_PIXELS, joined: bool | None = None
    ) -> None:
        self.path, self._number = path, number
        self._open()
        stream = self.stream
        self.fps = float(stream.average_rate or stream.guessed_rate or 30)
        if stream.duration is not None:
            self.duration = float(stream.duration * stream.time_base)
        else:
            self.duration = (self.container.duration or 0) / av.time_base
        self.has_audio = bool(self.container.streams.audio)
        self.make_picture = PictureMaker(path, pixel_aspect(stream), max_pixels)
        self._damage_said, self._offset, self.joined, self.table = False, 0, False, None
        # AVI has no time stamps, and those made up for these codecs are wrong where frames are reordered.
        self.counted = counts_frames(self.container, stream)
        self.first = 0.0
        try:
            with closing(self._demux()) as packets:
                first = next(self._frames(packets), None)
            if first is None or not first.width:
                raise UserError(f"{path}: no frame in this video; encode it anew or remove it")
            self.first = 0.0 if self.counted else first.time or 0.0
            self.size = self.make_picture.shown_size(first)
            broadcast = may_begin_anew(self.container.format)
            if joined is None:
                joined = broadcast or self._goes_back_at_the_end()
            # The index of the first of two AVI files leads nowhere in the second.
            if self.counted and following_recording(path, "avi") is not None:
                # Its header knows the length of the first alone.
                joined, self.duration = True, 0.0
            self.table = self._key_table() if joined and broadcast else None
            # Without byte positions to seek to, such a file is read from its beginning.
            self.joined = self.table is not None or (joined and not broadcast)
        except UserError:
            self.close()
            raise

    def _open(self) -> None:
        self.container, self.stream = open_video(self.path, self._number)
        large = self.stream.width * self.stream.height > THREADED_AREA
        self.stream.thread_type = "AUTO" if large else "NONE"

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def read(self, times: Sequence[float], short_side: int | None = None) -> list[np.ndarray]:
        """Read the picture (H, W, 3) uint8 RGB nearest to each of ``times``.

        Args:
            times: ascending, in seconds, 0 or more; those beyond the end give the last frame.
            short_side: shrink pictures whose shorter side is longer, in pixels.

        Raises:
            UserError: no frame can be decoded there.
            av.FFmpegError: the file is damaged there.
        """
        from_start = self.joined and self.table is None
        packets = [] if self.counted or from_start else self._packets(times[0], times[-1])
        chosen = [packets[i].pts for i in self._nearest(packets, times)]
        if chosen:
            images = self._decode(packets, set(chosen), short_side)
            if len(images) == len(set(chosen)):
                self._check_end(max(chosen) * self.stream.time_base - self.first, times[-1])
                return [images[pts] for pts in chosen]
        return self._read_all(times, short_side)

    def _goes_back_at_the_end(self) -> bool:
        """Whether packets with restarted time stamps follow after the end given by the header."""
        if not self.container.format.name.startswith("matroska"):
            return False
        self._seek(max(self.duration - 1.0, 0.0))
        steady = self._steady()
        with closing(self._demux()) as packets:
            for _ in steady(packets):
                if steady.offset:
                    return True
        return False

    def _key_table(self) -> list[tuple[float, int, int]] | None:
        """(time, offset of the stamps, byte) of each key frame, where recordings were joined; else None.

        Sets the duration, which the header of such files doesn't know.
        """
        self.container.seek(0, unsupported_byte_offset=True)
        steady, keys, last = SteadyStamps(self.stream, self.fps), [], 0.0
        with closing(steady(self._demux())) as packets:
            for packet in packets:
                if packet.size and packet.pts is not None:
                    last = max(last, self._seconds(packet.pts))
                    if packet.is_keyframe and packet.pos is not None:
                        keys.append((self._seconds(packet.pts), steady.offset, packet.pos))
        if not steady.offset:
            return None
        self.duration = last + 1.0 / self.fps
        return keys

    def _steady(self) -> SteadyStamps:
        steady = SteadyStamps(self.stream, self.fps)
        steady.offset = self._offset
        return steady

    def _seek(self, time: float) -> None:
        self._offset = 0
        if self.joined and self.table is None:
            # Its index may lead into either recording.
            self.close()
            self._open()
            return
        if self.table is not None:
            self._seek_byte(time)
            return
        # Some containers seek by decoding time, which is earlier than the time a frame is shown.
        margin = 0.0 if time > 0 else 1.0
        offset = int((self.first + time - margin) / self.stream.time_base)
        try:
            self.container.seek(offset, stream=self.stream, backward=True, any_frame=False)
        except av.FFmpegError:
            try:
                self.container.seek(int(self.first / self.stream.time_base), stream=self.stream)
            except av.FFmpegError:
                # Raw streams have no times to seek by.
                self.container.seek(0, unsupported_byte_offset=True)

    def _seek_byte(self, time: float) -> None:
        """Find a byte to seek to: where stamps restart, a time may occur twice, but a byte position does not."""
        before = [key for key in self.table if key[0] <= time]
        _, self._offset, byte = before[-1] if before else (0.0, 0, 0)
        self.container.seek(byte, stream=self.stream, unsupported_byte_offset=True)

    def _seconds(self, stamp: int) -> float:
        return float(stamp * self.stream.time_base) - self.first

    def _demux(self) -> Iterator[av.Packet]:
        """Packets from the current position; a caller that stops early must close the generator.

        PyAV 18 frees what a generator of packets holds only at its end or when closed. Lost bytes are few, but
        they lie between the decoder's blocks, whose memory then grows by 0.1 MB a clip.
        """
        return self.container.demux(self.stream)

    def _packets(self, start: float, end: float) -> list[av.Packet]:
        """Packets from a codec key frame at or before ``start`` to the frame after ``end``.

        Empty where packets carry no time stamps, so that only decoding can tell.
        """
        back = 1.0 / self.fps
        while True:
            self._seek(max(start - back, 0.0))
            packets, after = [], None
            with closing(self._demux()) as following:
                for packet in self._steady()(following):
                    if packet.size == 0:
                        break
                    if packet.pts is None:
                        return []
                    if packets or packet.is_keyframe:
                        packets.append(packet)
                    later = not packet.is_discard and self._seconds(packet.pts) > end
                    if later and (after is None or packet.pts < after):
                        after = packet.pts
                    # Later packets are shown no earlier than they are decoded.
                    if after is not None and packet.dts is not None and packet.dts >= after:
                        break
            if packets and (self._seconds(packets[0].pts) <= start + TIE or back >= start):
                return packets
            if back >= start:
                return []
            back = max(4 * back, 1.0)

    def _nearest(self, packets: Sequence[av.Packet], times: Sequence[float]) -> list[int]:
        """Index of the packet whose frame is shown nearest to each time; empty where none is shown."""
        # Frames shown before the codec's key frame but stored after it refer to frames before it.
        shown = [i for i, p in enumerate(packets) if p.pts >= packets[0].pts and not p.is_discard]
        shown.sort(key=lambda i: packets[i].pts)
        if not shown:
            return []
        stamps = np.array([self._seconds(packets[i].pts) for i in shown])
        return [shown[i] for i in nearest_indices(stamps, times)]

    def _decode(self, packets: Sequence[av.Packet], wanted: set[int], short_side: int | None) -> dict:
        """Pictures by time stamp; some are missing where the packets' stamps are not the frames'."""
        images: dict[int, np.ndarray] = {}
        codec = self.stream.codec_context
        last = max(i for i, packet in enumerate(packets) if packet.pts in wanted)
        try:
            for packet in [*packets[: last + 1], None]:
                # A frame that no other refers to is decoded only if it is wanted itself.
                codec.skip_frame = "DEFAULT" if packet is None or packet.pts in wanted else "NONREF"
                for frame in codec.decode(packet):
                    self.make_picture.check_size(frame)
                    if frame.pts in wanted and frame.pts not in images:
                        images[frame.pts] = self.make_picture(frame, short_side)
        except av.FFmpegError:
            return {}
        finally:
            codec.skip_frame = "DEFAULT"
        return images

    def _read_all(self, times: Sequence[float], short_side: int | None) -> list[np.ndarray]:
        """As ``read``, decoding every frame: for files without trustworthy time stamps in packets."""
        for back in (1.0 / self.fps, 10.0, times[0]):
            frames = self.frames_from(max(times[0] - back, 0.0))
            now = next(frames, None)
            if now is not None and (now[0] <= times[0] or back >= times[0]):
                break
        if now is None:
            raise UserError(f"{self.path}: no frame at {times[0]:.2f} s; encode the video anew or remove it")
        before, images = now, []
        for time in times:
            while now is not None and now[0] < time:
                before, now = now, next(frames, None)
            nearer = now is not None and later_is_nearer(before[0], now[0], time)
            images.append(self.make_picture(now[1] if nearer else before[1], short_side))
        self._check_end(before[0], times[-1])
        return images

    def frames_from(self, time: float) -> Iterator[tuple[float, av.VideoFrame]]:
        """Yield (time, frame) from the codec's key frame before ``time`` on; damaged packets are left out."""
        self._seek(time)
        start, count = None, 0
        with closing(self._demux()) as packets:
            steady = self._steady()(packets)
            first = next(steady, None)
            if first is not None and first.dts is not None:
                start = self._seconds(first.dts)
            for frame in self._frames(chain([first] if first else [], steady)):
                counted = self.counted or frame.time is None
                yield ((start or 0.0) + count / self.fps if counted else frame.time - self.first), frame
                count += 1

    def _frames(self, packets: Iterable[av.Packet]) -> Iterator[av.VideoFrame]:
        """The frames of packets; those that can't be decoded are left out."""
        for packet in packets:
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                if not self._damage_said:
                    at = "" if packet.pts is None else f" near {self._seconds(packet.pts):.2f} s"
                    logger.warning(
                        "%s: damaged%s (%s); frames are missing there", self.path, at, reason(error)
                    )
                self._damage_said = True
                continue
            yield from frames

    def _check_end(self, last: float, wanted: float) -> None:
        if last < min(wanted, self.duration) - LOST_END:
            raise UserError(
                f"{self.path}: no frame at {wanted:.2f} s; it ends at {last:.2f} s although its header says "
                f"{self.duration:.2f} s: fetch or encode it anew"
            )
