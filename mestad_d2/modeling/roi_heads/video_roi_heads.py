"""ROIAlign on the last stage and a multi-label action classifier (paper, section 3.3 and Eq. 2).

Shapes: N clips, R boxes of all clips together, A action columns, S the pooler's resolution.
"""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY
from detectron2.structures import Boxes, ImageList, Instances, pairwise_iou
from torch import Tensor, nn
from torch.nn import functional as F

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.tower import mean_over_ranks
from mestad_d2.modeling.roi_heads.action_heads import build_action_predictor

# From logits to scores: several actions of a person at once (AVA), or exactly one (MultiSports).
ACTIVATIONS = ("sigmoid", "softmax")


def pool_time(pathways: list[Tensor], mode: str) -> Tensor:
    """Pool every pathway (N, C_i, T_i, H, W) over time and concatenate: (N, sum C_i, H, W)."""
    return torch.cat([_pool_pathway(x, mode) for x in pathways], dim=1)


def _pool_pathway(x: Tensor, mode: str) -> Tensor:
    pool = torch.mean if mode == "avg" else torch.amax
    if x.is_contiguous(memory_format=torch.channels_last_3d):
        # Viewed with channels last, as in memory, the same sums take a tenth of the time on a CPU.
        return pool(x.permute(0, 2, 3, 4, 1), dim=1).permute(0, 3, 1, 2)
    return pool(x, dim=2)


def clip_index(actors: list[Instances], device: torch.device) -> Tensor:
    """Return the index (R,) of the clip that each actor belongs to."""
    return torch.cat(
        [torch.full((len(a),), i, dtype=torch.long, device=device) for i, a in enumerate(actors)]
    )


def _with_gt(proposals: Instances, gt: Instances) -> Instances:
    boxes = Boxes.cat([proposals.proposal_boxes, gt.gt_boxes])
    return Instances(proposals.image_size, proposal_boxes=boxes)


@torch.no_grad()
def match_actions(boxes: Boxes, gt: Instances, positive_iou: float) -> tuple[Tensor, Tensor]:
    """Assign to every box the labels of the ground-truth person of highest IoU.

    Args:
        boxes: R boxes.
        gt: instances with ``gt_boxes``, ``gt_actions`` (G, A) and, optionally, ``gt_action_mask``
            (G,), False where a person's actions are unknown (background persons of TLA).
        positive_iou: least IoU of a match (paper, section 4.1: 0.5).

    Returns:
        targets (R, A) and a mask (R,) of the boxes that count in the loss.
    """
    actions = gt.gt_actions
    if len(gt) == 0 or len(boxes) == 0:
        return actions.new_zeros(len(boxes), actions.shape[1]), torch.zeros(
            len(boxes), dtype=torch.bool, device=actions.device
        )
    iou, index = pairwise_iou(boxes, gt.gt_boxes).max(dim=1)
    keep = iou >= positive_iou
    if gt.has("gt_action_mask"):
        keep = keep & gt.gt_action_mask[index]
    return actions[index], keep


@torch.no_grad()
def match_weights(boxes: Boxes, gt: Instances) -> Tensor:
    """Return target weights (R, A) of boxes: the matched person's ``gt_action_weights``, else 1."""
    if not gt.has("gt_action_weights") or len(gt) == 0 or len(boxes) == 0:
        return gt.gt_actions.new_ones(len(boxes), gt.gt_actions.shape[1])
    return gt.gt_action_weights[pairwise_iou(boxes, gt.gt_boxes).argmax(dim=1)]


def keep_at_most(keep: Tensor, count: int) -> Tensor:
    """Keep at most ``count`` of the true entries of ``keep`` (R,), drawn at random; 0 keeps all."""
    if count <= 0 or int(keep.sum()) <= count:
        return keep
    index = keep.nonzero().squeeze(1)
    drawn = index[torch.randperm(len(index), device=index.device)[:count]]
    return torch.zeros_like(keep).index_fill(0, drawn, True)


@ROI_HEADS_REGISTRY.register()
class VideoROIHeads(nn.Module):
    """Classifies the actions of proposals on 5-D features.

    Subclasses that see more of a clip than pooled maps override ``logits``, and say so with ``pooled_maps_only``;
    those that need the dataset dicts (``video_id``, ``timestamp``) set ``takes_inputs``.
    """

    pooled_maps_only = True
    takes_inputs = False

    @configurable
    def __init__(
        self,
        *,
        in_feature: str,
        pooler: ROIPooler,
        predictor: nn.Module,
        num_classes: int,
        temporal_pool: str = "avg",
        positive_iou: float = 0.5,
        positives_per_clip: int = 0,
        append_gt: bool = True,
        loss_weight: float = 10.0,
        focal_gamma: float = 0.0,
        focal_alpha: float = 1.0,
        score_with_person: bool = False,
        activation: str = "sigmoid",
    ) -> None:
        super().__init__()
        self.in_feature = in_feature
        self.pooler = pooler
        self.predictor = predictor
        self.num_classes = num_classes
        self.temporal_pool = temporal_pool
        self.positive_iou, self.positives_per_clip = positive_iou, positives_per_clip
        self.append_gt = append_gt
        self.loss_weight = loss_weight
        self.focal_gamma, self.focal_alpha = focal_gamma, focal_alpha
        self.score_with_person = score_with_person
        if activation not in ACTIVATIONS:
            raise UserError(
                f"MODEL.ROI_ACTION_HEAD.ACTIVATION: {activation!r} is unknown; use {' or '.join(ACTIVATIONS)}"
            )
        self.activation = activation

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict) -> dict:
        head = cfg.MODEL.ROI_ACTION_HEAD
        shape = input_shape[head.IN_FEATURE]
        return {
            "in_feature": head.IN_FEATURE,
            "pooler": ROIPooler(
                output_size=head.POOLER_RESOLUTION,
                scales=(1.0 / shape.stride,),
                sampling_ratio=head.POOLER_SAMPLING_RATIO,
                pooler_type="ROIAlignV2" if head.POOLER_ALIGNED else "ROIAlign",
            ),
            "predictor": build_action_predictor(cfg, shape.channels),
            "num_classes": head.NUM_CLASSES,
            "temporal_pool": head.TEMPORAL_POOL,
            "positive_iou": head.POSITIVE_IOU,
            "positives_per_clip": head.POSITIVES_PER_CLIP,
            "append_gt": head.APPEND_GT,
            "loss_weight": head.LOSS_WEIGHT,
            "focal_gamma": head.FOCAL_GAMMA,
            "focal_alpha": head.FOCAL_ALPHA,
            "score_with_person": head.SCORE_WITH_PERSON,
            "activation": head.ACTIVATION,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, list[Tensor]],
        proposals: list[Instances],
        gt_instances: list[Instances] | None = None,
        score_with_person: bool | None = None,
        inputs: list[dict] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Return losses in training; in inference, instances with ``pred_boxes, scores, pred_actions (R, A)``.

        Args:
            images: the clips, for their sizes only.
            features: stage name -> list of pathway tensors (N, C, T, H, W).
            proposals: per clip, ``proposal_boxes`` and, in inference, ``scores`` of the persons.
            gt_instances: per clip, ``gt_boxes`` and ``gt_actions``; needed in training.
            score_with_person: of inference; default: as configured.
            inputs: the dataset dicts, for subclasses with ``takes_inputs``.
        """
        extra = {"inputs": inputs} if self.takes_inputs else {}
        if not self.training:
            with_person = self.score_with_person if score_with_person is None else score_with_person
            logits = self.logits(images, features, proposals, **extra).float()
            return self._results(logits, proposals, with_person), {}
        actors = proposals
        if self.append_gt:
            actors = [_with_gt(p, gt) for p, gt in zip(proposals, gt_instances, strict=True)]
        matches = [
            match_actions(a.proposal_boxes, gt, self.positive_iou)
            for a, gt in zip(actors, gt_instances, strict=True)
        ]
        matches = [(target, keep_at_most(keep, self.positives_per_clip)) for target, keep in matches]
        # Only boxes in the loss are pooled: ignored ones would only cost time.
        actors = [a[keep] for a, (_, keep) in zip(actors, matches, strict=True)]
        targets = torch.cat([target[keep] for target, keep in matches])
        logits = self.logits(images, features, actors, **extra)
        weights = None
        if any(gt.has("gt_action_weights") for gt in gt_instances):
            weights = torch.cat(
                [match_weights(a.proposal_boxes, gt) for a, gt in zip(actors, gt_instances, strict=True)]
            )
        if self.activation == "softmax":
            loss = exclusive_action_loss(logits, targets)
        else:
            loss = action_loss(logits, targets, self.focal_gamma, self.focal_alpha, weights)
        return proposals, {"loss_action": self.loss_weight * loss}

    def logits(self, images: ImageList, features: dict[str, list[Tensor]], actors: list[Instances]) -> Tensor:
        """Compute the action logits (R, A) of actors, per clip instances with ``proposal_boxes``."""
        frames = pool_time(features[self.in_feature], self.temporal_pool)
        pooled = self.pooler([frames], [a.proposal_boxes for a in actors])
        return self.predictor(pooled, frames, clip_index(actors, frames.device))

    def _results(self, logits: Tensor, proposals: list[Instances], with_person: bool) -> list[Instances]:
        scores = logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(dim=1)
        results = []
        for proposal, actions in zip(proposals, scores.split([len(p) for p in proposals]), strict=True):
            result = Instances(proposal.image_size)
            result.pred_boxes = proposal.proposal_boxes
            result.scores = proposal.scores
            result.pred_actions = actions * proposal.scores[:, None] if with_person else actions
            result.pred_classes = torch.zeros(len(proposal), dtype=torch.long, device=actions.device)
            results.append(result)
        return results


def action_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float = 0.0,
    alpha: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Compute binary cross entropy of logits and targets (R, A), mean over boxes and classes (paper, Eq. 2).

    With ``gamma`` or ``alpha`` each term is multiplied with alpha (1 - p_t)^gamma, where p_t is the
    probability of the target (focal loss; not of the paper); ``weights`` (R, A) multiply terms, 0 masks one. The
    mean is over the boxes of all processes, so that averaged gradients are those of the joint batch. Without
    boxes it is zero, still connected to the graph so that every rank has gradients.
    """
    count = mean_over_ranks(torch.tensor(float(logits.shape[0]), device=logits.device))
    terms = F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    if gamma != 0 or alpha != 1:
        terms = alpha * (1 - torch.exp(-terms)) ** gamma * terms
    if weights is not None:
        terms = terms * weights
    return terms.sum() / (count * logits.shape[1])


def exclusive_action_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Compute softmax cross entropy of logits and targets (R, A), mean over the boxes of all ranks.

    A box with several actions shares its weight among them. Without boxes it is zero and keeps the graph.
    """
    count = mean_over_ranks(torch.tensor(float(logits.shape[0]), device=logits.device))
    shares = targets / targets.sum(dim=1, keepdim=True).clamp(min=1)
    return -(shares * logits.float().log_softmax(dim=1)).sum() / count
