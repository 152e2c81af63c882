"""Copy the sound of a video into an output mp4, encoded as AAC where an mp4 can't hold it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import av

from mestad_d2.video.decode.container import open_media, open_video
from mestad_d2.video.decode.timestamps import SteadyStamps
from mestad_d2.video.source import VideoSource

# Sampling rates that AAC has, in Hz (ISO/IEC 14496-3, table of sampling frequencies).
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
logger = logging.getLogger(__name__)

# Audio codecs that an mp4 holds and players play.
COPIED = {"aac", "mp3", "mp3float", "opus", "ac3", "eac3", "alac", "flac"}


class SoundTrack:
    """Carries the first sound stream of ``video`` into ``out``, in step with the picture.

    Time 0 of ``out`` is the first frame of the source's picture, or of its window; other sound is left out. Where the
    sound is damaged it ends with a warning: the picture matters more.
    """

    def __init__(self, out: av.container.OutputContainer, video: VideoSource) -> None:
        self._out, self._name = out, str(video)
        self._source, picture = open_video(video.place, video.stream)
        stream = self._source.streams.audio[0]
        picture_start = float((picture.start_time or 0) * picture.time_base)
        self._start, self._end = (picture_start + second for second in video.window)
        rate = stream.rate or 44100
        # An mp4 holds mp3 from 16 kHz on.
        copies = stream.codec_context.name in COPIED and (
            rate >= 16000 or "mp3" not in stream.codec_context.name
        )
        if copies:
            self._stream = out.add_stream_from_template(stream)
        else:
            self._stream = out.add_stream("aac", rate=aac_rate(rate))
            self._stream.layout = "stereo" if stream.channels > 1 else "mono"
        # As many packets a second as of AAC; it matters only where time stamps must be computed.
        steady = SteadyStamps(stream, rate / 1024)(self._source.demux(stream))
        self._packets = self._shifted(stream, steady) if copies else self._encoded(steady)
        self._next = None

    def write_until(self, time: float) -> None:
        """Write the sound up to ``time`` (s), so that picture and sound lie side by side in the file."""
        try:
            while True:
                self._next = self._next or next(self._packets, None)
                if self._next is None or float(self._next.dts * self._next.time_base) > time:
                    return
                self._out.mux(self._next)
                self._next = None
        except (av.FFmpegError, ValueError) as error:
            logger.warning("%s: its sound ends early, it can't be read (%s)", self._name, error)
            self._next, self._packets = None, iter(())

    def close(self) -> None:
        """Write the rest and close the source."""
        self.write_until(float("inf"))
        self._source.close()

    def _shifted(self, stream: av.AudioStream, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        shift = round(self._start / stream.time_base)
        for packet in packets:
            if packet.dts is None or packet.dts < shift:
                continue
            if packet.dts * packet.time_base >= self._end:
                return
            packet.dts -= shift
            packet.pts = packet.dts if packet.pts is None else packet.pts - shift
            packet.stream = self._stream
            yield packet

    def _encoded(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        codec = self._stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout=codec.layout, rate=codec.rate)
        for frame in (frame for packet in packets for frame in packet.decode()):
            if frame.time is not None and frame.time < self._start:
                continue
            if frame.time is not None and frame.time >= self._end:
                break
            if frame.pts is not None:
                frame.pts -= round(self._start / frame.time_base)
            for part in resampler.resample(frame):
                yield from self._stream.encode(part)
        for part in resampler.resample(None):
            yield from self._stream.encode(part)
        yield from self._stream.encode(None)


def aac_rate(rate: int) -> int:
    """Return the lowest AAC sampling rate of at least ``rate`` Hz, or the highest there is."""
    return min((r for r in AAC_RATES if r >= rate), default=max(AAC_RATES))


def open_sound(out: av.container.OutputContainer, video: VideoSource) -> SoundTrack | None:
    """Open the sound of ``video`` for ``out``; return None where FFmpeg finds none that it can read."""
    if not video.has_audio:
        return None
    with open_media(video.place) as source:
        readable = source.streams.audio[0].codec_context is not None
    if not readable:
        logger.warning("%s: its sound is coded in a way that can't be read; it is left out", video)
    return SoundTrack(out, video) if readable else None
