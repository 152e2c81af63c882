"""The grid of key frames against brute force, and segments against clips."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_video import read_number, write_numbered_video

from mestad_d2.inference.clip_stream import stream_clips
from mestad_d2.inference.one_pass.grid import KeyframeGrid
from mestad_d2.inference.one_pass.segments import stream_segments
from mestad_d2.video.clips import clip_offsets
from mestad_d2.video.stream import StreamFrame, iterate_frames

strides = st.sampled_from([(1, 4), (1, 13), (4, 16), (4, 32), (8, 32)])


@given(strides, st.floats(0.02, 0.6), st.floats(0.1, 40))
def test_the_grid_is_fine_enough_and_no_finer_than_it_must(
    stride: tuple[int, int], spacing: float, rate: float
) -> None:
    grid = KeyframeGrid.for_rate(spacing, stride[1], stride[0], rate)
    assert grid.tick * rate <= 1 + 1e-4
    if grid.shifts > 1:
        assert grid.phases == stride[0]
    fewer = [p for p in range(1, grid.phases) if stride[0] % p == 0]
    assert all(spacing * stride[0] / p * rate > 1 for p in fewer)


@given(strides, st.integers(1, 3), st.integers(0, 500))
def test_a_tick_stands_where_its_frames_are(stride: tuple[int, int], shifts: int, tick: int) -> None:
    for phases in (p for p in range(1, stride[0] + 1) if stride[0] % p == 0):
        if shifts > 1 and phases < stride[0]:
            continue
        grid = KeyframeGrid(0.1, stride[1], stride[0], phases, shifts)
        step, start, shift = grid.place(tick)
        assert (step * stride[0] + start + shift / shifts) * 0.1 == pytest.approx(tick * grid.tick)
        # The frame lies at that place of the segment that begins with tick 0.
        offsets = grid.offsets(step + 1)[shift::shifts]
        assert offsets[stride[1] // 2 + step * stride[0] + start] == pytest.approx(tick * grid.tick)


@given(st.floats(0.2, 30), st.floats(0.02, 0.5))
def test_times_go_to_the_nearest_tick_in_order(rate: float, spacing: float) -> None:
    grid = KeyframeGrid.for_rate(spacing, 8, 1, rate)
    times = [index / rate for index in range(50)]
    ticks = list(grid.nearest(times))
    assert [time for _, time in ticks] == times
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(ticks))
    assert all(abs(tick * grid.tick - time) <= grid.tick / 2 + 1e-5 for tick, time in ticks)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(50)])
@pytest.mark.parametrize(("stride", "per_second"), [(1, 1.0), (1, 9.0), (2, 6.0), (4, 1.7), (1, 20.0)])
def test_every_key_frame_has_the_frames_of_its_clip(
    tmp_path: Path, rate: Fraction, stride: int, per_second: float
) -> None:
    """Frames of a segment around each key frame are those that clip mode reads for the same time."""
    path = tmp_path / "v.mp4"
    write_numbered_video(path, 170, rate)
    frames, spacing = 8, 3 / 30
    grid = KeyframeGrid.for_rate(spacing, frames, stride, per_second)
    times = (index / per_second for index in itertools.count())
    numbers = _numbers(path)
    found: dict[int, list[int]] = {}
    for segment in stream_segments(numbers, times, grid, 3, lambda frame: frame.image):
        for tick in segment.ticks:
            step, start, shift = grid.place(tick)
            at = frames // 2 + stride * (step - grid.place(segment.first)[0]) + start
            own = segment.frames[shift :: grid.shifts]
            found[tick] = [int(f[0, 0, 0]) for f in own[at - frames // 2 : at - frames // 2 + frames]]
    wanted = stream_clips(
        numbers, [t * grid.tick for t in found], clip_offsets(frames, 3, 30.0), lambda frame: frame.image
    )
    assert list(found.values()) == [[int(f[0, 0, 0]) for f in clip.frames] for clip in wanted]
    assert len(found) == int(169 / rate * per_second) + 1


def _numbers(path: Path) -> list[StreamFrame]:
    return [
        StreamFrame(f.time, np.full((1, 1, 3), read_number(f.image), np.int32)) for f in iterate_frames(path)
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 0.4), min_size=1, max_size=60),
    st.lists(st.floats(0.0, 8.0), min_size=1, max_size=20, unique=True),
    st.integers(1, 6),
)
def test_any_frame_times_and_any_wanted_times(gaps: list[float], wanted: list[float], steps: int) -> None:
    """Whatever the frame rate: ticks are in order, none is lost before the end, none lies after the film."""
    frames = [StreamFrame(t, np.zeros((1, 1, 3), np.uint8)) for t in [0.0, *np.cumsum(gaps)]]
    grid = KeyframeGrid(0.1, 4, 2, 2, 1)
    segments = list(stream_segments(frames, sorted(wanted), grid, steps, lambda frame: frame.image))
    ticks = [tick for segment in segments for tick in segment.ticks]
    assert ticks == sorted(set(ticks))
    assert all(0 <= tick * grid.tick <= frames[-1].time + 1e-5 for tick in ticks)
    end = frames[-1].time
    sure = {tick for tick, time in grid.nearest(sorted(wanted)) if max(tick * grid.tick, time) <= end}
    assert sure <= set(ticks)
    for segment in segments:
        used = (segment.ticks[-1] - segment.first) // grid.ticks_per_step + 1
        assert len(segment.frames) == grid.frames(used) * grid.shifts
