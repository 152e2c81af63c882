"""Colours: what the file says about them is heeded, and written files say it; HDR is shown as SDR."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mestad_d2.video.decode.colors import tone_mapped
from mestad_d2.video.frames import read_frames
from mestad_d2.video.output.trim import cut_video
from mestad_d2.video.output.writer import VideoWriter
from mestad_d2.video.stream import iterate_frames

GREEN = np.array([30, 180, 60])
# Kr and Kb of the matrices (ITU-T H.273, table 4), by their codes there.
MATRICES = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}


def write_color(path: Path, rgb: np.ndarray, matrix: int, full: bool, codec: str = "libx264") -> None:
    """A video of one colour, converted by hand from full-range RGB, with tags that say how."""
    kr, kb = MATRICES[matrix]
    red, green, blue = rgb / 255
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 - 2 * kb), (red - luma) / (2 - 2 * kr)
    y = 255 * luma if full else 16 + 219 * luma
    u, v = (128 + c * (255 if full else 224) for c in chroma)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        for _ in range(10):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane, value in zip(frame.planes, (y, u, v), strict=True):
                plane.update(bytes([round(value)]) * plane.buffer_size)
            frame.colorspace, frame.color_range = matrix, 2 if full else 1
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def color_of(path: Path) -> np.ndarray:
    """Mean colour of a video, the same in both ways of reading."""
    in_order = next(iterate_frames(path)).image
    by_time = read_frames(path, [0.0])[0]
    np.testing.assert_array_equal(in_order, by_time)
    return by_time.reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
def test_matrix_and_range_of_the_file(tmp_path: Path, matrix: int, full: bool) -> None:
    write_color(tmp_path / "v.mp4", GREEN, matrix, full)
    np.testing.assert_allclose(color_of(tmp_path / "v.mp4"), GREEN, atol=3)


@pytest.mark.parametrize("matrix", [1, 6])
def test_a_cut_film_keeps_its_colours(tmp_path: Path, matrix: int) -> None:
    write_color(tmp_path / "film.mp4", GREEN, matrix, False)
    cut_video(tmp_path / "film.mp4", tmp_path / "cut.mp4", 0.1, 1.0, short_side=32)
    np.testing.assert_allclose(color_of(tmp_path / "cut.mp4"), GREEN, atol=4)
    with av.open(str(tmp_path / "cut.mp4")) as file:
        frame = next(file.decode(video=0))
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)


def test_an_annotated_video_says_its_colours(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 25.0) as writer:
        for number in range(5):
            writer.write(number / 25, np.broadcast_to(GREEN.astype(np.uint8), (48, 64, 3)))
    np.testing.assert_allclose(color_of(tmp_path / "v.mp4"), GREEN, atol=3)
    with av.open(str(tmp_path / "v.mp4")) as file:
        frame = next(file.decode(video=0))
    assert (frame.colorspace, frame.color_range, frame.color_primaries, frame.color_trc) == (1, 1, 1, 1)


def srgb(linear: np.ndarray) -> np.ndarray:
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def pq_code(nits: np.ndarray) -> np.ndarray:
    """Inverse EOTF of SMPTE ST 2084, in [0, 1]."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg_code(scene: np.ndarray) -> np.ndarray:
    """OETF of ARIB STD-B67, in [0, 1]."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


@pytest.mark.parametrize("light", [(1.0, 1.0, 1.0), (0.5, 0.5, 0.5), (0.6, 0.05, 0.05), (0.02, 0.3, 0.4)])
@pytest.mark.parametrize("kind", ["PQ", "HLG"])
def test_hdr_as_its_standards_say(kind: str, light: tuple[float, ...]) -> None:
    """Light as a part of white paper, 203 cd/m2: encoded by the standards' formulas, shown as sRGB."""
    wanted = np.array(light)
    # The inverse of BT.2087's matrix, from the chromaticities of both.
    wide = np.array(
        [[0.627404, 0.329283, 0.043313], [0.069097, 0.919541, 0.011362], [0.016391, 0.088013, 0.895595]]
    )
    nits = 203.0 * (wide @ wanted)
    if kind == "PQ":
        code = pq_code(nits)
    else:
        luma = np.array([0.2627, 0.6780, 0.0593]) @ nits / 1000
        code = hlg_code(nits / 1000 * luma ** (1 / 1.2 - 1))
    picture = np.broadcast_to(np.round(code * 65535).astype(np.uint16), (2, 2, 3))
    np.testing.assert_allclose(tone_mapped(picture, kind, wide=True)[0, 0], srgb(wanted), atol=1.5)


def test_what_is_brighter_than_white_keeps_its_hue() -> None:
    code = np.round(pq_code(np.array([4000.0, 2000.0, 2000.0])) * 65535).astype(np.uint16)
    red, green, blue = tone_mapped(np.broadcast_to(code, (1, 1, 3)), "PQ", wide=False)[0, 0].astype(int)
    assert red == 255 and green == blue and abs(green - srgb(np.array(0.5))) < 1.5


@pytest.mark.parametrize(("kind", "transfer"), [("PQ", 16), ("HLG", 18)])
def test_an_hdr_video_is_read_as_sdr(tmp_path: Path, kind: str, transfer: int) -> None:
    gray = pq_code(np.array(203.0)) if kind == "PQ" else 0.75
    with av.open(str(tmp_path / "v.mp4"), "w") as out:
        stream = out.add_stream("libx265", rate=25, options={"crf": "4", "x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p10le"
        codec = stream.codec_context
        codec.color_trc, codec.color_primaries, codec.colorspace, codec.color_range = transfer, 9, 9, 1
        frame = av.VideoFrame(64, 48, "yuv420p10le")
        for plane, value in zip(frame.planes, (64 + 876 * gray, 512, 512), strict=True):
            plane.update(np.full(plane.buffer_size // 2, round(float(value)), "<u2").tobytes())
        frame.color_trc, frame.color_primaries, frame.colorspace, frame.color_range = transfer, 9, 9, 1
        for number in range(10):
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    # White paper, which stood there as a middle grey before.
    np.testing.assert_allclose(color_of(tmp_path / "v.mp4"), [255, 255, 255], atol=5)
