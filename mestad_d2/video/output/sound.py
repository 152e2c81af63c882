"""The sound of a source beside a new picture: copied where an mp4 can hold it, else encoded as AAC."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import av

logger = logging.getLogger(__name__)

# Kinds of sound that an mp4 holds and players play.
COPIED = {"aac", "mp3", "mp3float", "opus", "ac3", "eac3", "alac", "flac"}


class SoundTrack:
    """Carries the first sound stream of ``video`` into ``out``, in step with the picture.

    Time 0 of ``out`` is the first frame of the source's picture; sound before it is left out. Where the
    sound is damaged it ends with a warning: the picture matters more.
    """

    def __init__(self, out: av.container.OutputContainer, video: str) -> None:
        self._out = out
        self._source = av.open(video, metadata_errors="ignore")
        picture, stream = self._source.streams.video[0], self._source.streams.audio[0]
        self._start = float((picture.start_time or 0) * picture.time_base)
        copies = stream.codec_context.name in COPIED
        if copies:
            self._stream = out.add_stream_from_template(stream)
        else:
            self._stream = out.add_stream("aac", rate=stream.rate or 44100)
            self._stream.layout = "stereo" if stream.channels > 1 else "mono"
        self._packets = self._shifted(stream) if copies else self._encoded(stream)
        self._next = None

    def write_until(self, time: float) -> None:
        """Write what is heard up to ``time`` (s), so that picture and sound lie side by side in the file."""
        while True:
            try:
                self._next = self._next or next(self._packets, None)
            except (av.FFmpegError, ValueError) as error:
                logger.warning("%s: its sound ends early, it can't be read (%s)", self._source.name, error)
            if self._next is None or float(self._next.dts * self._next.time_base) > time:
                return
            self._out.mux(self._next)
            self._next = None

    def close(self) -> None:
        """Write the rest and close the source."""
        self.write_until(float("inf"))
        self._source.close()

    def _shifted(self, stream: av.AudioStream) -> Iterator[av.Packet]:
        shift = round(self._start / stream.time_base)
        for packet in self._source.demux(stream):
            if packet.dts is None or packet.dts < shift:
                continue
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            packet.stream = self._stream
            yield packet

    def _encoded(self, stream: av.AudioStream) -> Iterator[av.Packet]:
        codec = self._stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout=codec.layout, rate=codec.rate)
        for frame in self._source.decode(stream):
            if frame.time is not None and frame.time < self._start:
                continue
            if frame.pts is not None:
                frame.pts -= round(self._start / frame.time_base)
            for part in resampler.resample(frame):
                yield from self._stream.encode(part)
        yield from self._stream.encode(None)


def open_sound(out: av.container.OutputContainer, video: str) -> SoundTrack | None:
    """The sound of ``video`` for ``out``; None where it has none that this FFmpeg can read."""
    with av.open(video, metadata_errors="ignore") as source:
        readable = [stream.codec_context is not None for stream in source.streams.audio]
    if readable and not readable[0]:
        logger.warning("%s: its sound is coded in a way that can't be read; it is left out", video)
    return SoundTrack(out, video) if readable and readable[0] else None
