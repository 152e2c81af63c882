"""Videos decoded whole give the very frames that the reader of clips gives."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numbered_video import read_number, write_numbered_video

from mestad_d2.video.decoded import decode_whole, read_decoded
from mestad_d2.video.frames import ClipReader, read_frames


@pytest.mark.parametrize("short_side", [None, 40])
def test_the_same_frames_as_the_reader_of_files(tmp_path: Path, short_side: int | None) -> None:
    path = tmp_path / "a.mp4"
    stamps = write_numbered_video(path, 60, Fraction(25))
    rng = np.random.default_rng(0)
    for _ in range(20):
        times = rng.uniform(-0.5, stamps[-1] + 1.0, 6)
        expected = read_frames(str(path), times, short_side=short_side)
        found = read_decoded(str(path), times, tmp_path / "decoded", short_side)
        assert np.array_equal(found, expected)
    assert [read_number(frame) for frame in read_decoded(str(path), [0.4, 2.0], tmp_path / "d")] == [10, 50]


def test_a_clip_reader_uses_them_and_a_new_file_is_decoded_anew(tmp_path: Path) -> None:
    path, folder = tmp_path / "a.mp4", tmp_path / "decoded"
    write_numbered_video(path, 40, Fraction(25))
    plain, mapped = (ClipReader(4, 3, 25.0, False, 0, where) for where in ("", str(folder)))
    assert np.array_equal(mapped(str(path), 0.8, 64), plain(str(path), 0.8, 64))
    first = decode_whole(str(path), folder, 64)
    kept = first.stat().st_mtime_ns
    assert decode_whole(str(path), folder, 64).stat().st_mtime_ns == kept
    write_numbered_video(path, 50, Fraction(25))
    assert decode_whole(str(path), folder, 64) != first
    assert not list(folder.glob("*.part*"))
