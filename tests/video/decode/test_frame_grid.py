"""The frames of AVA's recipe, against what ffmpeg 9.0 wrote of numbered films (``-ss S -t 8``, then ``-r 30``)."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_video import numbered_frame, read_number, write_numbered_video

from mestad_d2.video.decode.frame_grid import cfr_frames, on_grid
from mestad_d2.video.frames import ClipReader
from mestad_d2.video.source import open_source

# By frames a second: the first pictures after the cut at 3 s.
WRITTEN = {
    "24000/1001": [72, 73, 73, 74, 75, 76, 77, 77, 78],
    "25": [75, 76, 77, 77, 78, 79, 80, 81, 82],
    "50": [150, 151, 152, 153, 154, 156, 158, 159, 161],
    "60": [180, 181, 182, 183, 185, 187, 189, 191, 193],
}
# The same of films whose picture begins 0.5 s after the sound.
LATE = {
    "24000/1001": [60, 61, 61, 62, 63, 64, 65, 65, 66],
    "25": [63, 64, 65, 65, 66, 67, 68, 69, 70],
    "50": [125, 126, 127, 128, 129, 131, 133, 134, 136],
    "60": [150, 151, 152, 153, 155, 157, 159, 161, 163],
}


@pytest.mark.parametrize("rate", WRITTEN)
@pytest.mark.parametrize("expected", [WRITTEN, LATE], ids=["", "late"])
def test_pictures_are_those_that_ffmpeg_writes(rate: str, expected: dict[str, list[int]]) -> None:
    first, step = expected[rate][0], 1 / Fraction(rate)
    stamps = np.array([float(i * step) for i in range(first, first + 40)])
    assert (first + cfr_frames(stamps, 30.0))[:9].tolist() == expected[rate]


def film(path: Path, rate: Fraction, frames: int, delay: float) -> Path:
    """A film whose sound begins with the file and whose picture begins later; stamps in ms, as Matroska has them."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg4", rate=rate), container.add_stream("aac", rate=48000)
        video.width, video.height, video.pix_fmt = 160, 64, "yuv420p"
        video.codec_context.time_base, sound.layout = 1 / rate, "mono"
        for start in range(0, 48000 * 2, 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.sample_rate, silence.pts, silence.time_base = 48000, start, Fraction(1, 48000)
            container.mux(sound.encode(silence))
        for index in range(frames):
            picture = av.VideoFrame.from_ndarray(numbered_frame(index), format="rgb24")
            picture.pts, picture.time_base = index + round(delay * rate), 1 / rate
            container.mux(video.encode(picture))
        container.mux([*video.encode(None), *sound.encode(None)])
    return path


@pytest.mark.parametrize(("delay", "expected"), [(0.0, WRITTEN), (0.5, LATE)])
def test_clips_show_the_recipes_frames(tmp_path: Path, delay: float, expected: dict[str, list[int]]) -> None:
    source = open_source(film(tmp_path / "a.mkv", Fraction(50), 260, delay))
    reader = ClipReader(3, 1, 30.0, False, 0, grid=(3.0, 30.0))
    # A clip's middle frame is picture 1 of those that begin at 3 s.
    clip = reader(source, 3.0 + 1 / 30, None)
    assert [read_number(frame) for frame in clip] == expected["50"][:3]
    # Without the grid they are the nearest in time.
    clip = ClipReader(3, 1, 30.0, False, 0)(source, 3.0 + 1 / 30, None)
    assert [read_number(frame) for frame in clip] == [150, 152, 153]


def test_times_before_the_cut_and_of_cut_files(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "a.mp4", 100, Fraction(25))
    source, times = open_source(tmp_path / "a.mp4"), np.array([0.5, 1.0, 2.0, 2.0 + 3 / 30])
    assert on_grid(source, times, 2.0, 30.0).tolist() == pytest.approx([0.5, 1.0, 2.0, 2.08])
    # A file that begins at 900 is cut: the grid begins with it; one that ends before the cut keeps its times.
    assert on_grid(source.starting_at(900.0), np.array([3 / 30]), 900.0, 30.0).tolist() == pytest.approx(
        [0.08]
    )
    assert on_grid(source, times, 900.0, 30.0).tolist() == times.tolist()
