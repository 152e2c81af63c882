"""RetinaNet proposals and losses against detectron2's own RetinaNet with the same weights."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_proposal_generator
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.meta_arch.retinanet import RetinaNet
from detectron2.utils.events import EventStorage
from modeling.proposal_generator.helpers import LEVELS, features, images, people, shapes, small_cfg

from mestad_d2.modeling.proposal_generator.select import Selection


class _Given(Backbone):
    """Ignores the picture and gives fixed features."""

    def forward(self, x):
        return features(len(x))

    def output_shape(self):
        return shapes()


@pytest.fixture
def pair():
    """Own generator, and detectron2's RetinaNet built around its parts."""
    torch.manual_seed(0)
    own = build_proposal_generator(small_cfg("RetinaNetProposals"), shapes())
    for parameter in own.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    reference = RetinaNet(
        backbone=_Given(),
        head=own.head,
        head_in_features=LEVELS,
        anchor_generator=own.anchor_generator,
        box2box_transform=own.box2box_transform,
        anchor_matcher=own.anchor_matcher,
        num_classes=1,
        smooth_l1_beta=own.smooth_l1_beta,
        test_score_thresh=0.4,
        test_nms_thresh=1.0,
        max_detections_per_image=10,
        pixel_mean=[0.0, 0.0, 0.0],
        pixel_std=[1.0, 1.0, 1.0],
    )
    # No NMS: detectron2 suppresses here before it cuts boxes to the picture, and we after, as its RPN does.
    own.test_selection = Selection(0.4, 1.0, 10)
    return own, reference


def test_proposals(pair):
    own, reference = (module.eval() for module in pair)
    with torch.no_grad():
        proposals, _ = own(images(2), features(2), None)
        expected = reference([{"image": torch.zeros(3, 128, 128)}] * 2)
    for got, wanted in zip(proposals, expected, strict=True):
        wanted = wanted["instances"]
        assert 0 < len(got) == len(wanted)
        torch.testing.assert_close(got.scores, wanted.scores)
        torch.testing.assert_close(got.proposal_boxes.tensor, wanted.pred_boxes.tensor, atol=1e-3, rtol=1e-4)


def test_losses(pair):
    own, reference = (module.train() for module in pair)
    gt = [people([12, 20, 60, 110], [70, 30, 120, 90]), people()]
    _, got = own(images(2), features(2), gt)
    inputs = [{"image": torch.zeros(3, 128, 128), "instances": instances} for instances in gt]
    with EventStorage() as storage:
        expected = reference(inputs)
        positives = storage.latest()["num_pos_anchors"][0] * 2
    # detectron2 divides by a running mean that starts at 100 and has momentum 0.9.
    divisor = (0.9 * 100 + 0.1 * positives) / positives
    assert got["loss_retina_cls"].item() == pytest.approx(expected["loss_cls"].item() * divisor, rel=1e-4)
    assert got["loss_retina_loc"].item() == pytest.approx(expected["loss_box_reg"].item() * divisor, rel=1e-4)
