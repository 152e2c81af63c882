"""Which boxes train the action head, and what its loss is, against loops and formulas."""

from __future__ import annotations

import math

import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from tiny import fake_input, tiny_cfg

from mestad_d2.modeling.roi_heads.action_heads import LinearActionHead
from mestad_d2.modeling.roi_heads.video_roi_heads import action_loss, keep_at_most, match_actions, pool_time


def iou(a: list[float], b: list[float]) -> float:
    """IoU of two boxes, by the definition."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = width * height
    return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)


def random_boxes(count: int, generator: torch.Generator) -> torch.Tensor:
    """Boxes that overlap often."""
    corners = torch.rand(count, 2, generator=generator) * 20
    return torch.cat([corners, corners + 5 + torch.rand(count, 2, generator=generator) * 20], dim=1)


def test_matches_equal_a_loop_over_boxes() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        gt = Instances((50, 50))
        gt.gt_boxes = Boxes(random_boxes(4, generator))
        gt.gt_actions = torch.randint(0, 2, (4, 6), generator=generator).float()
        gt.gt_action_mask = torch.rand(4, generator=generator) > 0.3
        boxes = random_boxes(20, generator)
        targets, keep = match_actions(Boxes(boxes), gt, 0.5)
        for row, box in enumerate(boxes.tolist()):
            overlaps = [iou(box, other) for other in gt.gt_boxes.tensor.tolist()]
            best = max(range(4), key=overlaps.__getitem__)
            assert bool(keep[row]) == (overlaps[best] >= 0.5 and bool(gt.gt_action_mask[best]))
            assert targets[row].tolist() == gt.gt_actions[best].tolist()


def test_loss_by_its_formula_and_without_boxes() -> None:
    logits = torch.tensor([[0.3, -2.0], [1.5, 0.0]], requires_grad=True)
    targets = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    sigmoid = [[1 / (1 + math.exp(-v)) for v in row] for row in logits.tolist()]
    expected = (
        -sum(
            math.log(p if t else 1 - p)
            for ps, ts in zip(sigmoid, targets.tolist(), strict=True)
            for p, t in zip(ps, ts, strict=True)
        )
        / 4
    )
    assert abs(float(action_loss(logits, targets).detach()) - expected) < 1e-6
    empty = action_loss(logits[:0], targets[:0])
    empty.backward()
    assert float(empty.detach()) == 0.0 and logits.grad is not None


def test_time_is_pooled_in_each_pathway() -> None:
    slow, fast = torch.rand(2, 3, 4, 5, 5), torch.rand(2, 1, 16, 5, 5)
    pooled = pool_time([slow, fast], "avg")
    torch.testing.assert_close(pooled[:, :3], sum(slow[:, :, t] for t in range(4)) / 4)
    torch.testing.assert_close(pool_time([slow, fast], "max")[:, 3], fast[:, 0].max(dim=1).values)
    last = [x.contiguous(memory_format=torch.channels_last_3d) for x in (slow, fast)]
    for mode in ("avg", "max"):
        torch.testing.assert_close(pool_time(last, mode), pool_time([slow, fast], mode))


def test_context_doubles_the_features() -> None:
    plain = build_model(tiny_cfg()).roi_heads.predictor.classifier
    context = build_model(tiny_cfg("MODEL.ROI_ACTION_HEAD.WITH_CONTEXT", True)).roi_heads.predictor.classifier
    assert context.in_features == 2 * plain.in_features


def test_at_most_so_many_positives_are_drawn_evenly() -> None:
    torch.manual_seed(0)
    keep = torch.tensor([True, False, True, True, False, True])
    drawn = torch.stack([keep_at_most(keep, 2) for _ in range(400)])
    assert (drawn.sum(dim=1) == 2).all() and not drawn[:, ~keep].any()
    assert ((drawn[:, keep].float().mean(dim=0) - 0.5).abs() < 0.1).all()
    assert torch.equal(keep_at_most(keep, 0), keep) and torch.equal(keep_at_most(keep, 4), keep)


def test_positives_of_a_clip_are_limited_in_the_loss() -> None:
    torch.manual_seed(0)
    pooled = []
    model = build_model(tiny_cfg("MODEL.ROI_ACTION_HEAD.POSITIVES_PER_CLIP", 2)).train()
    model.roi_heads.pooler.register_forward_pre_hook(lambda _, inputs: pooled.extend(inputs[1]))
    clips = [fake_input([[5, 5, 40, 60]] * 5), fake_input([[5, 5, 40, 60]])]
    model(clips)
    assert len(pooled[0]) == 2 and 1 <= len(pooled[1]) <= 2


def test_dropout_before_pooling_thins_cells_and_after_it_channels() -> None:
    torch.manual_seed(0)
    actors = torch.ones(50, 8, 4, 4)
    zeroed = {}
    for before in (True, False):
        head = LinearActionHead(channels=8, num_classes=2, dropout=0.5, dropout_before_pool=before).train()
        head.classifier.register_forward_pre_hook(lambda _, x, b=before: zeroed.__setitem__(b, x[0] == 0))
        head(actors, actors, torch.zeros(50, dtype=torch.long))
    # All 16 cells of a map are zero once in 65,536 times.
    assert not zeroed[True].any() and 0.4 < float(zeroed[False].float().mean()) < 0.6
