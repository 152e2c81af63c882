"""From scored boxes to proposals, against torchvision's NMS and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import nms

from mestad_d2.modeling.proposal_generator.select import Selection, select_proposals


def _random(count: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    low, size = torch.rand(2, count, 2, generator=generator) * 80
    scores, rank = torch.rand(2, count, generator=generator)
    return torch.cat([low, low + size + 1], dim=1), scores, rank


@pytest.mark.parametrize("threshold", [0.3, 0.7])
def test_equals_torchvision(threshold):
    boxes, scores, rank = _random(200, 0)
    levels = torch.arange(200) // 150
    got = select_proposals((100, 90), boxes, scores, rank, levels, Selection(0.4, threshold, 10))
    clipped = boxes.clone()
    clipped[:, 0::2] = clipped[:, 0::2].clamp(0, 90)
    clipped[:, 1::2] = clipped[:, 1::2].clamp(0, 100)
    index = (scores > 0.4).nonzero()[:, 0]
    index = index[nms(clipped[index], rank[index], threshold)][:10]
    torch.testing.assert_close(got.proposal_boxes.tensor, clipped[index])
    torch.testing.assert_close(got.scores, scores[index])
    torch.testing.assert_close(got.objectness_logits, rank[index])


def test_without_nms_all_above_the_threshold_stay_in_order():
    boxes, scores, rank = _random(300, 1)
    got = select_proposals((200, 200), boxes, scores, rank, torch.zeros(300), Selection(0.3, 1.0, 100))
    expected = rank[scores > 0.3].sort(descending=True).values[:100]
    assert torch.equal(got.objectness_logits, expected)


def test_topk_counts_a_level_and_only_what_passed():
    boxes, _, rank = _random(20, 2)
    scores = torch.ones(20)
    scores[:6] = 0.1
    got = select_proposals(
        (200, 200), boxes, scores, rank, torch.arange(20) // 10, Selection(0.5, 1.0, 100, 5)
    )
    first, second = rank[6:10], rank[10:].topk(5).values
    assert torch.equal(got.objectness_logits, torch.cat([first, second]).sort(descending=True).values)


def test_boxes_without_levels_are_of_one():
    boxes, scores, rank = _random(40, 4)
    rule = Selection(0.3, 0.5, 100, 7)
    got, expected = (
        select_proposals((200, 200), boxes, scores, rank, levels, rule) for levels in (None, torch.zeros(40))
    )
    assert torch.equal(got.proposal_boxes.tensor, expected.proposal_boxes.tensor)
    assert torch.equal(got.objectness_logits, expected.objectness_logits)


@pytest.mark.parametrize("threshold", [0.5, 1.0])
def test_useless_boxes_are_left_out(threshold):
    boxes = torch.tensor(
        [[5.0, 5, 20, 20], [200, 5, 220, 20], [5, 5, 5, 20], [math.nan, 0, 9, 9], [0, 0, 9, 9]]
    )
    scores = torch.tensor([0.9, 0.9, 0.9, 0.9, math.nan])
    got = select_proposals((100, 100), boxes, scores, scores, torch.zeros(5), Selection(0.3, threshold, 10))
    assert got.proposal_boxes.tensor.tolist() == [[5, 5, 20, 20]]


def test_none_left_gives_empty_fields():
    boxes, scores, rank = _random(10, 3)
    got = select_proposals((50, 60), boxes, scores * 0, rank, torch.zeros(10), Selection(0.3, 0.5, 10))
    assert len(got) == 0 and got.image_size == (50, 60)
    assert got.proposal_boxes.tensor.shape == (0, 4)
    assert got.scores.shape == got.objectness_logits.shape == (0,)
