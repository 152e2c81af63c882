"""The length of videos whose container does not tell it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest
from numbered_video import write_numbered_video

from mestad_d2.video.duration import seconds_of
from mestad_d2.video.stream import StreamInfo, probe


def test_length_is_read_off_the_packets(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 50, Fraction(20))
    options = {"movflags": "frag_keyframe+empty_moov"}
    with (
        av.open(str(tmp_path / "v.mp4")) as source,
        av.open(str(tmp_path / "f.mp4"), "w", options=options) as out,
    ):
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    info = probe(tmp_path / "f.mp4")
    silent = StreamInfo(fps=info.fps, duration=None)
    assert seconds_of(tmp_path / "f.mp4", silent) == pytest.approx(2.5, abs=0.01)
    assert seconds_of(tmp_path / "v.mp4", probe(tmp_path / "v.mp4")) == pytest.approx(2.5, abs=0.06)


def test_what_is_no_file_has_the_length_that_is_known(tmp_path: Path) -> None:
    assert seconds_of("camera:0", StreamInfo(fps=30.0, duration=None)) is None
    assert seconds_of(tmp_path, StreamInfo(fps=30.0, duration=1.5)) == 1.5
