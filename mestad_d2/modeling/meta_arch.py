"""ME-STAD: one network from a clip to people and their actions (paper, section 3.3 and Fig. 2).

Shapes: N clips of T frames, N,3,T,H,W; the key frame is index T // 2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import build_backbone, build_proposal_generator, build_roi_heads
from detectron2.modeling.meta_arch import META_ARCH_REGISTRY
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from mestad_d2.modeling.keyframe_fpn import build_keyframe_fpn
from mestad_d2.modeling.keyframe_path import build_keyframe_path
from mestad_d2.modeling.proposal_generator.select import Selection


def _gt_as_proposals(inputs: list[dict], device: torch.device) -> list[Instances]:
    proposals = []
    for item in inputs:
        gt = item["instances"]
        proposals.append(
            _with_scores(gt.image_size, gt.gt_boxes.to(device), torch.ones(len(gt), device=device))
        )
    return proposals


def _external_proposals(inputs: list[dict], device: torch.device) -> list[Instances]:
    proposals = []
    for item in inputs:
        given = item["proposals"].to(device)
        proposals.append(_with_scores(given.image_size, given.proposal_boxes, given.objectness_logits))
    return proposals


def _with_scores(image_size: tuple[int, int], boxes: Boxes, scores: Tensor) -> Instances:
    # Cloned: postprocessing scales boxes in place, and these belong to the caller.
    return Instances(image_size, proposal_boxes=boxes.clone(), objectness_logits=scores, scores=scores)


def _as_pytorch_initialises(*parts: nn.Module | None) -> None:
    for part in filter(None, parts):
        for layer in part.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()


def _given(**arguments: object) -> dict:
    # Users' parts need not accept arguments that were not given.
    return {name: value for name, value in arguments.items() if value is not None}


# Where the boxes of the action head come from when the proposal generator does not give them (Table 3).
BOX_SOURCES: dict[str, Callable[[list[dict], torch.device], list[Instances]]] = {
    "gt": _gt_as_proposals,
    "external": _external_proposals,
}


@META_ARCH_REGISTRY.register()
class MESTAD(nn.Module):
    """Backbone -> key-frame FPN -> proposals -> action head, trained end to end (paper, Eq. 3).

    The parts are named ``backbone``, ``keyframe_path`` (where ``MODEL.FPN.KEYFRAME_PATH`` asks for one), ``fpn``,
    ``proposal_generator`` and ``roi_heads``. With
    ``MODEL.PROPOSAL_GENERATOR.NAME: PrecomputedProposals`` there is no FPN and no proposal generator:
    the two-stage baseline of Table 1 on external boxes.
    """

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        fpn: nn.Module | None,
        proposal_generator: nn.Module | None,
        roi_heads: nn.Module,
        pixel_mean: list[float],
        pixel_std: list[float],
        train_boxes: str = "proposals",
        test_boxes: str = "proposals",
        channels_last: bool = False,
        keyframe_path: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.keyframe_path = keyframe_path
        self.fpn = fpn
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads
        if hasattr(roi_heads, "share_backbone"):
            roi_heads.share_backbone(backbone)
        self.train_boxes = train_boxes
        self.test_boxes = test_boxes
        self.size_divisibility = max(shape.stride for shape in backbone.output_shape().values())
        self.memory_format = torch.channels_last_3d if channels_last else torch.contiguous_format
        for module in backbone.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.data = module.weight.data.contiguous(memory_format=self.memory_format)
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1, 1), persistent=False)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        backbone = build_backbone(cfg)
        shape = backbone.output_shape()
        detects = cfg.MODEL.PROPOSAL_GENERATOR.NAME != "PrecomputedProposals"
        path = build_keyframe_path(cfg, shape, cfg.MODEL.FPN.IN_FEATURES) if detects else None
        fpn = build_keyframe_fpn(cfg, path.widened(shape) if path else shape) if detects else None
        generator = build_proposal_generator(cfg, fpn.output_shape()) if detects else None
        roi_heads = build_roi_heads(cfg, shape)
        if not cfg.MODEL.PAPER_INIT:
            _as_pytorch_initialises(fpn, generator, roi_heads)
        return {
            "backbone": backbone,
            "fpn": fpn,
            "proposal_generator": generator,
            "roi_heads": roi_heads,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "train_boxes": cfg.MODEL.ROI_ACTION_HEAD.TRAIN_BOXES,
            "test_boxes": cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES,
            "channels_last": cfg.MODEL.CHANNELS_LAST,
            "keyframe_path": path,
        }

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Compute losses in training, detections in inference.

        Args:
            batched_inputs: dicts with ``clip`` (3, T, H, W), RGB in 0..255; in training ``instances``
                with ``gt_boxes``, ``gt_classes`` and ``gt_actions`` (G, A) in the clip's pixels.

        Returns:
            in training, the losses by name; in inference, per clip ``{"instances": ...}`` with
            ``pred_boxes`` in the original frame, ``scores`` and ``pred_actions`` (R, A).
        """
        if not self.training:
            return self.inference(batched_inputs)
        if not batched_inputs:
            raise ValueError("no clips in the batch")
        images, features = self._features(batched_inputs)
        gt = [item["instances"].to(self.device) for item in batched_inputs]
        proposals, losses = self._proposals(images, features, gt)
        boxes = self._action_boxes(self.train_boxes, batched_inputs, proposals)
        _, action_losses = self.roi_heads(images, features, boxes, gt, **self._inputs(batched_inputs))
        return {**losses, **action_losses}

    @torch.no_grad()
    def inference(
        self,
        batched_inputs: list[dict],
        do_postprocess: bool = True,
        *,
        selection: Selection | None = None,
        test_boxes: str | None = None,
        score_with_person: bool | None = None,
    ) -> list:
        """Detect people and their actions in clips.

        Args:
            batched_inputs: as in ``forward``; ``height`` and ``width`` give the original frame.
            do_postprocess: scale boxes to the original frame and wrap as ``{"instances": ...}``; else
                a list of Instances in the clip's own pixels (for the mean teacher).
            selection: which boxes become proposals; default: ``MODEL.PROPOSALS.*_TEST``.
            test_boxes: as ``MODEL.ROI_ACTION_HEAD.TEST_BOXES``, which is the default.
            score_with_person: as ``MODEL.ROI_ACTION_HEAD.SCORE_WITH_PERSON``, which is the default.
        """
        if not batched_inputs:
            return []
        images, features = self._features(batched_inputs)
        return self.detect(
            images,
            features,
            batched_inputs,
            do_postprocess,
            selection=selection,
            test_boxes=test_boxes,
            score_with_person=score_with_person,
        )

    @torch.no_grad()
    def detect(
        self,
        images: ImageList,
        features: dict[str, list[Tensor]],
        batched_inputs: list[dict],
        do_postprocess: bool = True,
        *,
        selection: Selection | None = None,
        test_boxes: str | None = None,
        score_with_person: bool | None = None,
    ) -> list:
        """Detect from precomputed backbone features; arguments and result as of ``inference``.

        Args:
            images: (N, 3, T, H, W) normalised, with the sizes before padding.
            features: stage name -> pathways (N, C, T, H, W).
        """
        proposals, _ = self._proposals(images, features, None, **_given(selection=selection))
        boxes = self._action_boxes(test_boxes or self.test_boxes, batched_inputs, proposals)
        results, _ = self.roi_heads(
            images,
            features,
            boxes,
            None,
            **_given(score_with_person=score_with_person),
            **self._inputs(batched_inputs),
        )
        if not do_postprocess:
            return results
        return [
            {
                "instances": detector_postprocess(
                    result, item.get("height", size[0]), item.get("width", size[1])
                )
            }
            for result, item, size in zip(results, batched_inputs, images.image_sizes, strict=True)
        ]

    def _features(self, batched_inputs: list[dict]) -> tuple[ImageList, dict[str, list[Tensor]]]:
        images = self.preprocess([item["clip"] for item in batched_inputs])
        return images, self.backbone(images.tensor)

    def preprocess(self, clips: list[Tensor]) -> ImageList:
        """Normalise clips into one batch (N, 3, T, H, W), zero-padded to a common size.

        Args:
            clips: (3, T, H_i, W_i) each, values in 0..255.
        """
        sizes = [tuple(clip.shape[-2:]) for clip in clips]
        height, width = (
            -(-max(side) // self.size_divisibility) * self.size_divisibility
            for side in zip(*sizes, strict=True)
        )
        shape = (len(clips), *clips[0].shape[:2], height, width)
        batch = torch.empty(shape, device=self.device, memory_format=self.memory_format)
        if len({(height, width), *sizes}) > 1:
            batch.zero_()
        for place, clip, (h, w) in zip(batch, clips, sizes, strict=True):
            # In place: each float copy of a clip would cost more than the arithmetic.
            values = clip.to(self.device).to(torch.float32, copy=True)
            place[..., :h, :w] = values.sub_(self.pixel_mean).div_(self.pixel_std)
        return ImageList(batch, sizes)

    def _proposals(
        self,
        images: ImageList,
        features: dict[str, list[Tensor]],
        gt: list[Instances] | None,
        **arguments: Selection,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        if self.proposal_generator is None:
            return [], {}
        return self.proposal_generator(images, self.pyramid(images.tensor, features), gt, **arguments)

    def pyramid(self, clips: Tensor, features: dict[str, list[Tensor]]) -> dict[str, Tensor]:
        """Compute the feature pyramid of the key frame.

        Args:
            clips: (N, 3, T, H, W), normalised.
            features: stage name -> pathways (N, C, T, H, W).

        Returns:
            level name -> (N, C, H / stride, W / stride).
        """
        if self.keyframe_path is not None:
            maps = self.keyframe_path(clips[:, :, clips.shape[2] // 2])
            # One more pathway, of a single frame.
            features = {name: [*features[name], x[:, :, None]] for name, x in maps.items()}
        return self.fpn(features)

    def _inputs(self, batched_inputs: list[dict]) -> dict[str, list[dict]]:
        # Users' heads need not accept the dataset dicts.
        return {"inputs": batched_inputs} if getattr(self.roi_heads, "takes_inputs", False) else {}

    def _action_boxes(
        self, source: str, batched_inputs: list[dict], proposals: list[Instances]
    ) -> list[Instances]:
        return proposals if source == "proposals" else BOX_SOURCES[source](batched_inputs, self.device)
