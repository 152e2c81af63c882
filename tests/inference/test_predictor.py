"""Streaming gives the clips that random access gives, and each frame is decoded once."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from numbered_video import read_number, write_numbered_video
from tiny import tiny_cfg

from mestad_d2.data.mapper import ClipMapper
from mestad_d2.errors import UserError
from mestad_d2.inference import predictor as predictor_module
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.video.clips import clip_tensor, clip_times
from mestad_d2.video.frames import read_frames
from mestad_d2.video.pictures import PictureMaker


class Nobody(torch.nn.Module):
    """A model that is never asked."""


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(50)])
@pytest.mark.parametrize("per_second", [1.0, 2.5])
def test_clips_equal_random_access(tmp_path: Path, rate: Fraction, per_second: float) -> None:
    path = str(tmp_path / "v.mp4")
    write_numbered_video(tmp_path / "v.mp4", 140, rate)
    cfg = tiny_cfg("INPUT.CLIP.NUM_FRAMES", 8, "INPUT.MIN_SIZE_TEST", 64)
    clips = list(VideoPredictor(cfg, Nobody(), keyframes_per_second=per_second).clips(path))
    assert len(clips) == int(139 / rate * per_second) + 1
    for number, clip in enumerate(clips):
        assert clip.timestamp == pytest.approx(number / per_second)
        wanted = read_frames(path, clip_times(clip.timestamp, 8, 4, 30.0))
        assert [read_number(f) for f in clip.frames] == [read_number(f) for f in wanted]


@pytest.mark.parametrize(
    "options",
    [
        ("INPUT.MIN_SIZE_TEST", 48),
        ("INPUT.MAX_SIZE_TEST", 100),
        ("INPUT.MIN_SIZE_TEST", 40, "INPUT.CLIP.RESIZE", "bilinear"),
    ],
)
def test_pictures_equal_the_mapper_s(tmp_path: Path, options: tuple) -> None:
    write_numbered_video(tmp_path / "v.mp4", 50, Fraction(25))
    cfg = tiny_cfg("INPUT.CLIP.NUM_FRAMES", 8, *options)
    mapper = ClipMapper(cfg, is_train=False)
    for clip in VideoPredictor(cfg, Nobody()).clips(str(tmp_path / "v.mp4")):
        record = {"file_name": str(tmp_path / "v.mp4"), "video_id": "v", "start": 0.0, "annotations": []}
        record |= {"height": clip.height, "width": clip.width, "timestamp": clip.timestamp}
        wanted = mapper(record, np.random.default_rng(0))["clip"]
        assert torch.equal(clip_tensor(clip.frames), wanted)


def test_only_frames_of_clips_become_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, Fraction(25))
    made: list[float] = []
    original = PictureMaker.__call__

    def counted(self: PictureMaker, frame: av.VideoFrame, short_side: int | None = None) -> np.ndarray:
        made.append(frame.time)
        assert short_side is not None
        return original(self, frame, short_side)

    monkeypatch.setattr(PictureMaker, "__call__", counted)
    predictor = VideoPredictor(tiny_cfg("INPUT.CLIP.NUM_FRAMES", 2), Nobody(), keyframes_per_second=5)
    clips = list(predictor.clips(str(tmp_path / "v.mp4")))
    assert len(made) == len(set(made)) <= 2 * len(clips) < 100


def test_every_frame_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_numbered_video(tmp_path / "v.mp4", 100, Fraction(25))
    seen: list[int] = []
    original = predictor_module.iterate_frames

    def counted(*args: object, **kwargs: object):
        for frame in original(*args, **kwargs):
            seen.append(read_number(frame.image))
            yield frame

    monkeypatch.setattr(predictor_module, "iterate_frames", counted)
    list(VideoPredictor(tiny_cfg(), Nobody(), keyframes_per_second=5).clips(str(tmp_path / "v.mp4")))
    assert seen == list(range(100))


def test_a_whole_video_gives_detections_in_its_own_pixels(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "v.mp4", 75, Fraction(25))
    torch.manual_seed(0)
    cfg = tiny_cfg("MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.0, "MODEL.WEIGHTS_ALLOW_MISSING", True)
    found = list(VideoPredictor(cfg, keyframes_per_second=2).predict(str(tmp_path / "v.mp4")))
    assert [f.timestamp for f in found] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    for keyframe in found:
        assert (keyframe.height, keyframe.width) == (64, 160)
        assert keyframe.actions.shape == (len(keyframe.boxes), 12)
        assert (keyframe.boxes >= 0).all() and (keyframe.boxes <= np.array([160, 64, 160, 64])).all()


def test_no_video_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_bytes(b"nothing")
    with pytest.raises(UserError, match="v.mp4"):
        list(VideoPredictor(tiny_cfg("MODEL.WEIGHTS_ALLOW_MISSING", True)).predict(str(tmp_path / "v.mp4")))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_pause_has_no_key_frames(tmp_path: Path, suffix: str) -> None:
    """A recording that runs only while something moves: 2 s, then nothing for 10 h, then 2 s."""
    times = [number / 25 for number in range(50)] + [36000 + number / 25 for number in range(50)]
    path = tmp_path / f"v{suffix}"
    write_numbered_video(path, 100, Fraction(25), times=times, codec="libx264", g="50", bf="3")
    clips = list(VideoPredictor(tiny_cfg("INPUT.CLIP.NUM_FRAMES", 8), Nobody()).clips(str(path)))
    assert [clip.timestamp for clip in clips] == [0.0, 1.0, 2.0, 36000.0, 36001.0]
    assert [read_number(clip.frames[4]) for clip in clips] == [0, 25, 49, 50, 75]


def test_a_timelapse_has_a_key_frame_a_picture(tmp_path: Path) -> None:
    times = [number * 61.3 for number in range(6)]
    write_numbered_video(tmp_path / "v.mp4", 6, Fraction(25), times=times)
    clips = list(
        VideoPredictor(tiny_cfg("INPUT.CLIP.NUM_FRAMES", 8), Nobody()).clips(str(tmp_path / "v.mp4"))
    )
    assert [clip.timestamp for clip in clips] == [round(time) for time in times]
