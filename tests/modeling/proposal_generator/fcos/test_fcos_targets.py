"""FCOS targets against a loop over every point and box."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.modeling.proposal_generator.fcos.targets import FCOSTargets, centerness_of
from mestad_d2.modeling.proposal_generator.locations import pyramid_locations

STRIDES = [8, 16, 32]
SIZES = [(16, 20), (8, 10), (4, 5)]
# Both ends belong to a range, as in FCOS.
RANGES = [(-1.0, 64.0), (64.0, 128.0), (128.0, math.inf)]


POINTS, LEVELS = pyramid_locations(SIZES, STRIDES, torch.device("cpu"))


def _by_loops(boxes, radius):
    """For each point, the set of boxes that may be its target (several only at equal area)."""
    answers = []
    for (x, y), level in zip(POINTS.tolist(), LEVELS.tolist(), strict=True):
        stride, (low, high) = STRIDES[level], RANGES[level]
        best, winners = math.inf, set()
        for index, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
            if not (x1 < x < x2 and y1 < y < y2):
                continue
            reach = max(x - x1, y - y1, x2 - x, y2 - y)
            if not low <= reach <= high:
                continue
            near_x, near_y = abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)
            if radius is not None and max(near_x, near_y) >= radius * stride:
                continue
            area = (x2 - x1) * (y2 - y1)
            if area < best:
                best, winners = area, {index}
            elif area == best:
                winners.add(index)
        answers.append(winners or {-1})
    return answers


# Quarter pixels are exact in float32, so that both sides decide borders alike.
quarter = st.integers(-40, 680).map(lambda value: value / 4)
box = st.tuples(quarter, quarter, quarter, quarter).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]), max(c[1], c[3]))
)


@settings(deadline=None, max_examples=40)
@given(st.lists(box, max_size=6), st.sampled_from([None, 1.5, 0.75]))
def test_targets_equal_loops(boxes, radius):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    index = FCOSTargets(STRIDES, [64, 128], radius).assign(POINTS, LEVELS, boxes)
    expected = _by_loops(boxes, radius)
    assert all(got in allowed for got, allowed in zip(index.tolist(), expected, strict=True))


def test_the_last_range_may_end():
    """As in the release: nobody learns a person whose side is more than 256 pixels away."""
    points, levels = torch.tensor([[300.0, 300.0]]), torch.tensor([2])
    for box, learned in (([60.0, 60, 540, 540], True), ([20.0, 20, 580, 580], False)):
        targets = FCOSTargets(STRIDES, [64, 128, 256]).assign(points, levels, torch.tensor([box]))
        assert targets.tolist() == [0 if learned else -1]
        assert FCOSTargets(STRIDES, [64, 128]).assign(points, levels, torch.tensor([box])).tolist() == [0]


def test_every_person_of_usual_size_has_a_point():
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        low = torch.rand(2, generator=generator) * torch.tensor([100.0, 80.0])
        size = 16 + torch.rand(2, generator=generator) * 40
        one = torch.cat([low, low + size])[None]
        assert (FCOSTargets(STRIDES, [64, 128]).assign(POINTS, LEVELS, one) == 0).any()


def test_centerness_by_hand():
    distances = torch.tensor([[5.0, 5, 5, 5], [1, 2, 4, 8], [3, 1, 3, 4]])
    expected = [1.0, math.sqrt(1 / 4 * 2 / 8), math.sqrt(1 * 1 / 4)]
    torch.testing.assert_close(centerness_of(distances), torch.tensor(expected))
