"""pytorchvideo's whole detection model in ours: pooled features and action scores of given boxes are equal."""

from __future__ import annotations

import models
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from pytorchvideo.models.resnet import create_resnet_with_roi_head
from pytorchvideo.models.slowfast import create_slowfast_with_roi_head

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.model_zoo import get_config

# Config, builder, tensors in its file, frames.
CASES = {
    "SlowFast": ("published/pytorchvideo/slowfast_r50_detection", create_slowfast_with_roi_head, 552, 32),
    "SlowOnly": ("published/pytorchvideo/slow_r50_detection", create_resnet_with_roi_head, 267, 4),
}


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    """pytorchvideo's model, ours with its weights, what loading reported, and the case."""
    config, build, tensors, frames = CASES[request.param]
    torch.manual_seed(0)
    theirs = models.shake(build(model_depth=50))
    path = tmp_path_factory.mktemp("weights") / "DETECTION.pyth"
    torch.save({"model_state": theirs.state_dict()}, path)
    cfg = get_config(config)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", str(path)
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "gt"
    ours = build_model(cfg).eval()
    checkpointer = MESTADCheckpointer(ours, cfg=cfg)
    checkpointer.load(cfg.MODEL.WEIGHTS)
    return theirs, ours, checkpointer.last_report, tensors, frames


def test_the_table_accounts_for_the_whole_model(pair):
    theirs, ours, report, tensors, _ = pair
    counters = "num_batches_tracked"
    named = [key for key in theirs.state_dict() if not key.endswith(counters)]
    assert len(report.loaded) == len(named) == tensors and not report.dropped and not report.missing
    assert not report.new and not report.notes
    everything = {key for key in ours.state_dict() if not key.endswith(counters)}
    assert everything == {*report.loaded, *report.new}


def test_pooled_features_and_scores_equal(pair):
    theirs, ours, _, _, frames = pair
    generator = torch.Generator().manual_seed(1)
    clip = torch.randint(0, 256, (3, frames, 64, 64), generator=generator, dtype=torch.uint8)
    boxes = torch.tensor([[4.0, 6.0, 40.0, 60.0], [20.0, 1.0, 63.0, 50.0]])
    gt = Instances((64, 64), gt_boxes=Boxes(boxes))
    seen = {}
    hooks = [
        theirs.detection_head.roi_layer.register_forward_hook(lambda *a: seen.__setitem__("theirs", a[2])),
        ours.roi_heads.pooler.register_forward_hook(lambda *a: seen.__setitem__("ours", a[2])),
    ]
    with torch.no_grad():
        have = ours([{"clip": clip, "instances": gt, "height": 64, "width": 64}])[0]["instances"]
        x = (clip.float()[None] - ours.pixel_mean) / ours.pixel_std
        their_boxes = torch.cat([torch.zeros(2, 1), boxes], dim=1)
        # Slow frames as its tutorials and PySlowFast take them.
        slow = x[:, :, torch.linspace(0, frames - 1, frames // 4).long()]
        want = theirs([slow, x.clone()] if frames == 32 else x, their_boxes)
    for hook in hooks:
        hook.remove()
    torch.testing.assert_close(seen["ours"], seen["theirs"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(have.pred_actions, want, rtol=1e-5, atol=1e-5)
    assert have.pred_actions.std() > 0
