"""What is found out about a video once, and passed on."""

from __future__ import annotations

import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import pytest
from numbered_video import numbered_frame, read_number, write_numbered_video

from mestad_d2.data.ava import load_ava
from mestad_d2.errors import UserError
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.stream import iterate_frames


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
    silent = replace(open_source(tmp_path / "f.mp4"), duration=None)
    assert silent.seconds() == pytest.approx(2.5, abs=0.01)
    assert open_source(tmp_path / "v.mp4").seconds() == pytest.approx(2.5, abs=0.06)


def test_a_camera_has_no_length_and_no_frames_at_given_times() -> None:
    camera = open_source("camera:0")
    assert camera.kind == "camera" and camera.seconds() is None
    with pytest.raises(UserError, match="camera:0: a camera has no frames at given times"):
        read_frames(camera, [0.0])


def test_a_dataset_describes_each_video_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered_video(tmp_path / "a.mp4", 75, Fraction(25))
    (tmp_path / "gt.csv").write_text("".join(f"a,{t},0.1,0.1,0.5,0.5,1,0\n" for t in (900, 901, 902)))
    (tmp_path / "start.csv").write_text("a,900\n")
    dicts = load_ava(str(tmp_path), str(tmp_path / "gt.csv"), start=str(tmp_path / "start.csv"))
    source = dicts[0]["source"]
    assert source == VideoSource("file", str(tmp_path / "a.mp4"), 64, 160, 25.0, 3.0, 900.0)
    assert all(d["source"] is source for d in dicts)
    # It goes to loader processes and remote workers.
    assert pickle.loads(pickle.dumps(source)) == source
    assert len(pickle.dumps(source)) < 500


def test_a_file_written_anew_is_looked_at_anew(tmp_path: Path) -> None:
    for frames in (25, 50):
        write_numbered_video(tmp_path / "a.mp4", frames, Fraction(25))
        assert open_source(tmp_path / "a.mp4").duration == frames / 25


def test_in_order_and_by_time_agree_on_a_folder_with_gaps(tmp_path: Path) -> None:
    for number in (1, 2, 5, 6):
        cv2.imwrite(str(tmp_path / f"img_{number:05d}.png"), numbered_frame(number))
    source = open_source(tmp_path, folder_fps=10.0)
    in_order = {round(f.time, 6): read_number(f.image) for f in iterate_frames(source)}
    assert in_order == {0.0: 1, 0.1: 2, 0.4: 5, 0.5: 6} and source.duration == 0.6
    by_time = read_frames(source, list(in_order))
    assert [read_number(image) for image in by_time] == list(in_order.values())
