"""Which stream of a file is its picture, and how it is shown: upright, unmirrored, in square pixels."""

from __future__ import annotations

import logging
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import numbered_frame, read_number, write_numbered_video

from mestad_d2.data.ava import load_ava
from mestad_d2.errors import UserError
from mestad_d2.video.frames import read_frames
from mestad_d2.video.output.trim import cut_video
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames

# The 3 x 3 matrix of a mov track header: 16.16 fixed point, the last column 2.30.
IDENTITY = b"".join(v.to_bytes(4, "big", signed=True) for v in (65536, 0, 0, 0, 65536, 0, 0, 0, 2**30))


def corners(picture: np.ndarray) -> list[list[int]]:
    """Brightness of the four corners, in steps of 60."""
    height, width = picture.shape[:2]
    parts = [[picture[y : y + height // 4, x : x + width // 4] for x in (0, width - width // 4)]
             for y in (0, height - height // 4)]  # fmt: skip
    return [[round(part.mean() / 60) for part in row] for row in parts]


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ((1, 0, 0, 1), [[1, 2], [3, 4]]),
        ((-1, 0, 0, 1), [[2, 1], [4, 3]]),
        ((1, 0, 0, -1), [[3, 4], [1, 2]]),
        ((-1, 0, 0, -1), [[4, 3], [2, 1]]),
        ((0, 1, -1, 0), [[3, 1], [4, 2]]),
        ((0, -1, 1, 0), [[2, 4], [1, 3]]),
        ((0, 1, 1, 0), [[1, 3], [2, 4]]),
        ((0, -1, -1, 0), [[4, 2], [3, 1]]),
    ],
)
def test_display_matrix(tmp_path: Path, matrix: tuple[int, ...], shown: list[list[int]]) -> None:
    """(x, y) -> (a x + c y, b x + d y), worked out by hand for a picture of four quarters."""
    path = tmp_path / "v.mov"
    picture = np.repeat(np.repeat(np.array([[60, 120], [180, 240]], np.uint8), 32, 0), 48, 1)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(3):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.dstack([picture] * 3), format="rgb24")))
        out.mux(stream.encode(None))
    a, b, c, d = (value * 65536 for value in matrix)
    turned = b"".join(v.to_bytes(4, "big", signed=True) for v in (a, b, 0, c, d, 0, 0, 0, 2**30))
    # The film's own matrix comes first, then the track's.
    before, found, after = path.read_bytes().rpartition(IDENTITY)
    assert found
    path.write_bytes(before + turned + after)
    source = open_source(path)
    frame = next(iterate_frames(source))
    assert frame.size == (source.height, source.width) == ((64, 96) if matrix[0] else (96, 64))
    assert corners(frame.image) == corners(read_frames(source, [0.0])[0]) == shown
    cut_video(path, tmp_path / "cut.mp4", 0.0, 1.0)
    assert corners(read_frames(tmp_path / "cut.mp4", [0.0])[0]) == shown


def write_with_aspect(path: Path, width: int, height: int, aspect: Fraction) -> None:
    """30 frames with their numbers whose pixels are ``aspect`` times as wide as high."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for number in range(30):
            picture = av.VideoFrame.from_ndarray(numbered_frame(number, 64, 160), format="rgb24")
            out.mux(stream.encode(picture.reformat(width, height, "yuv420p")))
        out.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("stored", "aspect", "size"),
    [
        ((80, 64), Fraction(2), (64, 160)),
        ((160, 32), Fraction(1, 2), (64, 160)),
        ((144, 64), Fraction(16, 15), (64, 154)),
        ((160, 64), Fraction(1), (64, 160)),
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pixels_that_are_not_square(
    tmp_path: Path, suffix: str, stored: tuple[int, int], aspect: Fraction, size: tuple[int, int]
) -> None:
    path = tmp_path / f"v{suffix}"
    write_with_aspect(path, *stored, aspect)
    source = open_source(path)
    assert (source.height, source.width) == size
    frames = list(iterate_frames(source))
    assert {frame.size for frame in frames} == {frame.image.shape[:2] for frame in frames} == {size}
    assert [read_number(image) for image in read_frames(source, [0.0, 0.4])] == [0, 10]
    assert read_frames(source, [0.4], short_side=32)[0].shape[:2] == (32, round(size[1] / 2))
    cut_video(path, tmp_path / "cut.mp4", 0.0, 1.0)
    assert read_frames(tmp_path / "cut.mp4", [0.0])[0].shape[:2] == (size[0], size[1] // 2 * 2)


def test_boxes_of_a_dataset_are_of_square_pixels(tmp_path: Path) -> None:
    write_with_aspect(tmp_path / "v.mp4", 80, 64, Fraction(2))
    (tmp_path / "gt.csv").write_text("v,0.4,0.25,0.5,0.5,1.0,1,0\n")
    (item,) = load_ava(str(tmp_path), str(tmp_path / "gt.csv"), start=0.0)
    assert item["annotations"][0]["bbox"] == [40, 32, 80, 64] and item["width"] == 160


def write_two_pictures(path: Path, cover: bool, default: bool = False) -> None:
    """A small picture stream, or a cover, before a larger video of 30 numbered frames."""
    with av.open(str(path), "w") as out:
        first = out.add_stream("mjpeg" if cover else "mpeg4", rate=25)
        first.width, first.height, first.pix_fmt = 64, 64, "yuvj420p" if cover else "yuv420p"
        if cover:
            first.disposition = av.stream.Disposition.attached_pic
        elif default:
            first.disposition = av.stream.Disposition.default
        second = out.add_stream("mpeg4", rate=25)
        second.width, second.height, second.pix_fmt = 160, 64, "yuv420p"
        for number in range(30):
            if not (cover and number):
                red = av.VideoFrame.from_ndarray(np.full((64, 64, 3), (200, 0, 0), np.uint8), format="rgb24")
                red.pts, red.time_base = number, Fraction(1, 25)
                out.mux(first.encode(red))
            frame = av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(second.encode(frame))
        for stream in (first, second):
            out.mux(stream.encode(None))


@pytest.mark.parametrize(("suffix", "cover"), [(".ts", False), (".mp4", True)])
def test_the_best_picture_stream_is_taken(tmp_path: Path, suffix: str, cover: bool) -> None:
    path = tmp_path / f"v{suffix}"
    write_two_pictures(path, cover)
    assert [read_number(frame.image) for frame in iterate_frames(path)] == list(range(30))
    assert read_number(read_frames(path, [0.4])[0]) == 10
    if not cover:
        first = open_source(path, stream=0)
        assert (first.height, first.width) == (64, 64)
        assert all(frame.image[..., 0].mean() > 150 for frame in iterate_frames(first))
        assert read_frames(first, [0.4])[0][..., 0].mean() > 150
        assert read_number(read_frames(open_source(path, stream=1), [0.4])[0]) == 10
    with pytest.raises(UserError, match=f"v{suffix}: no picture stream 2, there are 2"):
        open_source(path, stream=2)


def test_the_default_stream_comes_before_the_largest(tmp_path: Path) -> None:
    write_two_pictures(tmp_path / "v.mp4", False, default=True)
    assert open_source(tmp_path / "v.mp4").width == 64


def test_a_song_is_no_video(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "song.wav"), "wb") as song:
        song.setparams((1, 2, 8000, 0, "NONE", ""))
        song.writeframes(bytes(16000))
    with pytest.raises(UserError, match=r"song.wav: no picture in this file; give a video"):
        open_source(tmp_path / "song.wav")


def test_a_picture_that_grows_on_the_way_is_refused(tmp_path: Path) -> None:
    """Raw streams may change their size; each frame is looked at, not the first alone."""
    for name, size in (("small", 64), ("large", 320)):
        with av.open(str(tmp_path / f"{name}.m2v"), "w", format="mpeg2video") as out:
            stream = out.add_stream("mpeg2video", rate=25)
            stream.width, stream.height, stream.pix_fmt = size, size, "yuv420p"
            for _ in range(20):
                blank = av.VideoFrame.from_ndarray(np.full((size, size, 3), 90, np.uint8), format="rgb24")
                out.mux(stream.encode(blank))
            out.mux(stream.encode(None))
    path = tmp_path / "grows.mpg"
    path.write_bytes((tmp_path / "small.m2v").read_bytes() + (tmp_path / "large.m2v").read_bytes())
    assert len(list(iterate_frames(path))) > 30
    source = open_source(path, max_pixels=64 * 64)
    with pytest.raises(
        UserError, match=r"grows.mpg: 320 x 320 pixels are too many; give at most 0.0 megapix"
    ):
        list(iterate_frames(source))
    with pytest.raises(UserError, match="320 x 320 pixels are too many"):
        read_frames(source, [1.2])


def test_a_video_without_an_end_is_ended(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from dataclasses import replace

    write_numbered_video(tmp_path / "v.mp4", 50, Fraction(25))
    source = replace(open_source(tmp_path / "v.mp4"), max_seconds=1.0)
    with caplog.at_level(logging.WARNING):
        assert len(list(iterate_frames(source))) == 26
    assert "only the first 1 s are read" in caplog.text
