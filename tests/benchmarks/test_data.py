"""The measurement of clip reading: its film is what it says, and its figures make sense."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from mestad_d2.benchmarks import data as benchmark_data
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source


def test_figures_of_a_small_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark_data, "LOOP_SECONDS", 4)
    film = tmp_path / "film.mp4"
    flags = ["--video", str(film), "--seconds", "12", "--height", "90", "--clips", "4", "--frames", "8"]
    benchmark_data.main([*flags, "--memory-clips", "20", "--workers", "1"])
    figures = json.loads(capsys.readouterr().out)
    assert 0.05 < figures["ratio"] < 20 and figures["loader_clips_per_s"] > 0
    assert figures["memory_clips"] == 20 and figures["memory_mb_end"] > 0
    info = open_source(str(film))
    assert (info.height, info.width, info.fps) == (90, 160, 30.0)
    assert info.duration == pytest.approx(12, abs=0.1)
    assert not list(tmp_path.glob("*.part*"))
    first, later = read_frames(str(film), [1.0, 9.0])
    np.testing.assert_array_equal(first, later)
    with av.open(str(film)) as container:
        frames = [frame.time for frame in container.decode(video=0)]
    np.testing.assert_allclose(np.diff(frames), 1 / 30, atol=1e-3)
    assert len(frames) == 360
