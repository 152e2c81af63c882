"""RPN + RCNN proposals against detectron2's own RPN and box head with the same weights."""

from __future__ import annotations

import torch
from detectron2.modeling import build_proposal_generator
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.roi_heads import StandardROIHeads
from detectron2.utils.events import EventStorage
from modeling.proposal_generator.helpers import features, images, people, shapes, small_cfg

from mestad_d2.modeling.proposal_generator.select import Selection


def _pair():
    torch.manual_seed(0)
    cfg = small_cfg("RPNRCNNProposals")
    own = build_proposal_generator(cfg, shapes())
    for parameter in own.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST, cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST = 0.4, 0.3
    cfg.TEST.DETECTIONS_PER_IMAGE = 10
    rpn, heads = RPN(cfg, shapes()), StandardROIHeads(cfg, shapes())
    rpn.load_state_dict(own.rpn.state_dict())
    heads.load_state_dict(own.box_heads.state_dict())
    own.test_selection = Selection(0.4, 0.3, 10)
    return own, rpn, heads


def test_proposals():
    own, rpn, heads = (module.eval() for module in _pair())
    with torch.no_grad():
        proposals, _ = own(images(2), features(2), None)
        regions, _ = rpn(images(2), features(2), None)
        expected, _ = heads(images(2), features(2), regions, None)
    for got, wanted in zip(proposals, expected, strict=True):
        assert 0 < len(got) == len(wanted)
        torch.testing.assert_close(got.scores, wanted.scores)
        torch.testing.assert_close(got.proposal_boxes.tensor, wanted.pred_boxes.tensor)


def test_losses():
    own, rpn, heads = (module.train() for module in _pair())
    gt = [people([12, 20, 60, 110], [70, 30, 120, 90]), people()]
    with EventStorage():
        # Anchors and regions are sampled at random: the same seed gives the same samples.
        torch.manual_seed(1)
        _, got = own(images(2), features(2), gt)
        torch.manual_seed(1)
        regions, first = rpn(images(2), features(2), gt)
        _, second = heads(images(2), features(2), regions, gt)
    expected = {**first, "loss_rcnn_cls": second["loss_cls"], "loss_rcnn_loc": second["loss_box_reg"]}
    assert set(got) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value)
