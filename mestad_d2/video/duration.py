"""How long a video is, also where its container does not say so (recordings, fragmented mp4)."""

from __future__ import annotations

import os

from mestad_d2.video.stream import StreamInfo, open_video


def seconds_of(path: str | os.PathLike[str], info: StreamInfo) -> float | None:
    """Length in s for a progress bar; read off the packets, undecoded, where the container is silent.

    Args:
        path: as given to ``probe``.
        info: what ``probe`` said of it.

    Returns:
        None where the packets carry no times either.
    """
    if info.duration is not None or not os.path.isfile(path):
        return info.duration
    with open_video(path) as container:
        stream = container.streams.video[0]
        # Read to the end, not broken off: PyAV keeps memory of a generator that is left open.
        times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
    if not times:
        return None
    return float((max(times) - min(times)) * stream.time_base) + 1.0 / info.fps
