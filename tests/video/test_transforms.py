"""Boxes follow the picture: a painted rectangle is found again where its box says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.video.pictures import shrink
from mestad_d2.video.transforms import GeometrySampler, color_jitter


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from([(120, 160), (90, 160), (160, 90), (101, 67)]),
    st.sampled_from([(48,), (96, 128), (200,)]),
    st.booleans(),
)
def test_painted_box_is_found_again(
    seed: int, size: tuple[int, int], sides: tuple[int, ...], crop: bool
) -> None:
    rng = np.random.default_rng(seed)
    x1, y1 = rng.integers(0, size[1] - 24), rng.integers(0, size[0] - 24)
    box = np.array([[x1, y1, x1 + rng.integers(16, 24), y1 + rng.integers(16, 24)]], dtype=float)
    frames = np.zeros((2, *size, 3), np.uint8)
    frames[:, y1 : int(box[0, 3]), x1 : int(box[0, 2])] = 255
    sampler = GeometrySampler(sides, scale_range=(0.8, 1.2), crop=(40, 60) if crop else None, flip=0.5)
    geometry = sampler.draw(size, rng)
    result, moved = geometry.clip(frames), geometry.boxes(box)[0]
    assert result.shape[1:3] == geometry.size
    bright = result[0, :, :, 0] > 127
    if (moved[2:] - moved[:2]).min() < 3:
        return
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    np.testing.assert_allclose(found, moved, atol=1.01)


def test_boxes_are_cut_and_scaled_by_hand() -> None:
    rng = np.random.default_rng(0)
    geometry = GeometrySampler((50,), flip=1.0).draw((100, 200), rng)
    assert geometry.scaled == (50, 100)
    np.testing.assert_allclose(geometry.boxes([[20, 10, 60, 90]]), [[70, 5, 90, 45]])
    np.testing.assert_allclose(geometry.boxes([[-50, -50, 500, 500]]), [[0, 0, 100, 50]])


@pytest.mark.parametrize("size, short", [((120, 160), 48), ((97, 131), 96), ((60, 80), 100)])
def test_bilinear_is_what_the_peers_libraries_compute(size: tuple[int, int], short: int) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (2, *size, 3)).astype(np.uint8)
    sampler = GeometrySampler((short,), crop=(40, 44), resize="bilinear")
    assert sampler.reading_side() is None
    geometry = sampler.draw(size, rng)
    x, y, width, height = geometry.crop
    result = geometry.clip(frames)
    by_cv2 = np.stack([cv2.resize(f, geometry.scaled[::-1], interpolation=cv2.INTER_LINEAR) for f in frames])
    np.testing.assert_array_equal(result, by_cv2[:, y : y + height, x : x + width])
    tensor = torch.from_numpy(frames).permute(0, 3, 1, 2).double()
    plain = torch.nn.functional.interpolate(tensor, geometry.scaled, mode="bilinear", antialias=False)
    plain = plain.permute(0, 2, 3, 1).numpy()[:, y : y + height, x : x + width]
    assert np.abs(result - plain).max() <= 1
    if 2 * short < min(size):
        # Noise shows the average over pixels that "bilinear" leaves out.
        area = GeometrySampler((short,)).draw(size, rng).clip(shrink(frames[0], short)[None])
        assert area.std() < 0.8 * by_cv2.std()


def test_longest_side_is_limited() -> None:
    geometry = GeometrySampler((256,), max_size=300).draw((100, 300), np.random.default_rng(0))
    assert geometry.scaled == (100, 300)


def test_colour_jitter_off_changes_nothing_and_one_draw_serves_all_frames() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (1, 32, 32, 3)).astype(np.uint8)
    frames = np.repeat(frame, 4, axis=0)
    np.testing.assert_array_equal(color_jitter(frames, (0, 0, 0, 0), rng), frames)
    changed = color_jitter(frames, (0.4, 0.4, 0.4, 0.1), rng)
    assert (changed != frames).any()
    for other in changed[1:]:
        np.testing.assert_array_equal(other, changed[0])


def test_brightness_scales_the_mean() -> None:
    frames = np.full((2, 8, 8, 3), 100, np.uint8)
    rng = np.random.default_rng(3)
    factor = 1 + np.random.default_rng(3).uniform(-0.4, 0.4)
    assert color_jitter(frames, (0.4, 0, 0, 0), rng).mean() == pytest.approx(100 * factor, abs=1)
