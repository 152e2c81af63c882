"""ATSS against a loop over boxes, levels and anchors."""

from __future__ import annotations

import statistics

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from mestad_d2.modeling.proposal_generator.gfocal.atss import atss_assign
from mestad_d2.modeling.proposal_generator.locations import pyramid_locations

STRIDES = [8, 16, 32]
POINTS, LEVELS = pyramid_locations([(12, 10), (6, 5), (3, 3)], STRIDES, torch.device("cpu"))
HALF = torch.tensor(STRIDES)[LEVELS][:, None] * 4.0
ANCHORS = torch.cat([POINTS - HALF, POINTS + HALF], dim=1)

# Irregular coordinates, so that no two anchors are equally far from a centre.
coordinate = st.integers(0, 90).map(lambda value: value + 0.137 * (value % 7) + 0.0713)
box = st.tuples(coordinate, coordinate, st.integers(3, 90), st.integers(3, 90)).map(
    lambda b: (b[0], b[1], b[0] + b[2] * 1.01, b[1] + b[3] * 0.993)
)


def _by_loops(boxes: torch.Tensor, topk: int) -> list[set[int]]:
    """For each anchor, the boxes that may own it (several only at equal IoU)."""
    claims: list[dict[int, float]] = [{} for _ in ANCHORS]
    for g, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        iou = box_iou(boxes[g : g + 1], ANCHORS)[0].tolist()
        candidates = []
        for level in range(3):
            members = [r for r in range(len(ANCHORS)) if LEVELS[r] == level]

            def distance(r: int, x=(x1 + x2) / 2, y=(y1 + y2) / 2) -> float:
                return (POINTS[r, 0].item() - x) ** 2 + (POINTS[r, 1].item() - y) ** 2

            candidates += sorted(members, key=distance)[:topk]
        values = [iou[r] for r in candidates]
        threshold = statistics.mean(values) + statistics.stdev(values)
        for r in candidates:
            x, y = POINTS[r].tolist()
            if iou[r] >= threshold - 1e-7 and x1 < x < x2 and y1 < y < y2:
                claims[r][g] = iou[r]
    return [
        {g for g, value in claim.items() if value >= max(claim.values()) - 1e-6} if claim else {-1}
        for claim in claims
    ]


@settings(deadline=None, max_examples=25)
@given(st.lists(box, max_size=4), st.sampled_from([3, 9]))
def test_equals_loops(boxes, topk):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    index = atss_assign(ANCHORS, LEVELS, boxes, topk)
    expected = _by_loops(boxes, topk)
    wrong = [
        r for r, (got, allowed) in enumerate(zip(index.tolist(), expected, strict=True)) if got not in allowed
    ]
    # An anchor exactly at the threshold may fall to either side of it in float32.
    assert len(wrong) <= 1 if len(boxes) else not wrong


def test_one_anchor_alone():
    anchors = torch.tensor([[0.0, 0, 10, 10]])
    assert atss_assign(anchors, torch.zeros(1), torch.tensor([[1.0, 1, 9, 9]])).tolist() == [0]
