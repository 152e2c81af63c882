"""Estimate a lower bound of the memory of training, without running anything."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from mestad_d2.modeling.build import build_detector
from mestad_d2.semisup import build_pseudo_labeler

GIB = 2**30
# Float32 tensors of the parameters' size: weights, gradients, and the optimiser's averages.
COPIES = {"SGD": 3, "AdamW": 4}


def saved_bytes(model: nn.Module, clips: Tensor, amp: bool) -> int:
    """Count the bytes kept for the backward pass by backbone, FPN and dense head, with autocast's weight copies.

    Args:
        model: the meta architecture, in training mode, on the CPU.
        clips: (N, 3, T, H, W), of which the shape alone matters under ``FakeTensorMode``.
        amp: in half precision where autocast says so.
    """
    # Storages by identity; they are held so that none is counted twice under a reused address.
    storages: dict[int, torch.UntypedStorage] = {}

    def remember(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage._cdata] = storage
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
        features = model.backbone(clips)
        head = getattr(model.proposal_generator, "head", None)
        if head is not None:
            levels = model.pyramid(clips, features)
            head([levels[name] for name in model.proposal_generator.in_features])
    return sum(storage.nbytes() for storage in storages.values())


def training_memory(cfg: CfgNode, clips: int) -> dict[str, float]:
    """Estimate a lower bound in GiB of the GPU memory of a step on ``clips`` labelled clips.

    Counted are weights, gradients, the optimiser's state and what the layers keep for the backward pass; with a
    teacher its weights and the unlabelled clips too. Not counted: the action head's boxes, workspaces of the
    convolutions, fragmentation and CUDA itself. Without AMP, layers keep the weights themselves: counted twice.

    Returns:
        ``weights``, ``saved`` and ``total``.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    copies = COPIES[cfg.SOLVER.OPTIMIZER]
    if cfg.SEMISUP.ENABLED:
        copies += 1
        if build_pseudo_labeler(cfg).uses_unlabeled:
            clips += round(clips * cfg.SEMISUP.UNLABELED_RATIO)
    height, width = cfg.INPUT.CROP.SIZE if cfg.INPUT.CROP.ENABLED else [cfg.INPUT.MIN_SIZE_TEST] * 2
    # Weights are shapes too: drawing them would take longer than counting.
    with torch.device("meta"):
        model = build_detector(cfg).train()
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu")
        batch = torch.empty(clips, 3, cfg.INPUT.CLIP.NUM_FRAMES, height, width)
        saved = saved_bytes(model, batch, cfg.SOLVER.AMP.ENABLED) / GIB
    # What is not trained has no gradient, and a teacher shares it.
    tensors = sum(p.numel() * (copies if p.requires_grad else 1) for p in model.parameters())
    weights = 4 * tensors / GIB
    return {"weights": round(weights, 2), "saved": round(saved, 2), "total": round(weights + saved, 2)}
