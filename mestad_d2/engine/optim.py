"""Optimisers by name, and scaling of the schedule to the number of processes."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn

from mestad_d2.errors import UserError


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """Build SGD or AdamW (``SOLVER.OPTIMIZER``) with detectron2's settings of norms, biases and clipping.

    Raises:
        UserError: an unknown optimiser.
    """
    solver = cfg.SOLVER
    parameters = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
        overrides={name: {"weight_decay": solver.WEIGHT_DECAY_BIAS} for name in ("q_bias", "v_bias")},
    )
    shares = layer_shares(model, solver.LAYER_DECAY)
    # detectron2 0.5 gives every tensor a group of its own, which slows down each step.
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for group in parameters:
        for tensor in group["params"]:
            lr = group["lr"] * shares.get(tensor, 1.0)
            groups.setdefault((lr, group["weight_decay"]), []).append(tensor)
    params = [{"params": tensors, "lr": lr, "weight_decay": decay} for (lr, decay), tensors in groups.items()]
    if solver.OPTIMIZER == "SGD":
        optimizer = maybe_add_gradient_clipping(cfg, torch.optim.SGD)
        return optimizer(params, lr=solver.BASE_LR, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)
    if solver.OPTIMIZER == "AdamW":
        return maybe_add_gradient_clipping(cfg, torch.optim.AdamW)(params, lr=solver.BASE_LR)
    raise UserError(f"SOLVER.OPTIMIZER: unknown optimiser {solver.OPTIMIZER!r}; use SGD or AdamW")


def layer_shares(model: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """Return the share of ``SOLVER.BASE_LR`` of each parameter of the backbone, by its depth.

    Raises:
        UserError: ``SOLVER.LAYER_DECAY`` for a backbone whose layers have no order of depth, or not in (0, 1].
    """
    if decay == 1:
        return {}
    backbone = getattr(model, "backbone", model)
    if not 0 < decay <= 1 or not hasattr(backbone, "layer_of"):
        raise UserError(
            f"SOLVER.LAYER_DECAY {decay}: only plain transformers (VideoMAE) have it, in (0, 1]; set it to 1"
        )
    return {
        tensor: decay ** (backbone.num_layers - backbone.layer_of(name))
        for name, tensor in backbone.named_parameters()
    }


def scale_to_processes(cfg: CfgNode, processes: int) -> CfgNode:
    """Scale batch, learning rate and iterations from ``SOLVER.REFERENCE_WORLD_SIZE`` to ``processes``.

    As detectron2 does, with the iterations that are keys of this project too; 0 leaves all as it is.

    Raises:
        UserError: the batch does not divide over the processes that the config was written for.
    """
    reference = cfg.SOLVER.REFERENCE_WORLD_SIZE
    if reference in (0, processes):
        return cfg
    if cfg.SOLVER.IMS_PER_BATCH % reference:
        raise UserError(
            f"SOLVER.REFERENCE_WORLD_SIZE: {reference} does not divide SOLVER.IMS_PER_BATCH "
            f"{cfg.SOLVER.IMS_PER_BATCH}; give a divisor, or 0"
        )
    scaled = DefaultTrainer.auto_scale_workers(cfg, processes)
    scaled.defrost()
    scaled.SEMISUP.BURN_IN_ITERS = round(cfg.SEMISUP.BURN_IN_ITERS * reference / processes)
    scaled.INPUT.CLIP.COARSE_ITERS = round(cfg.INPUT.CLIP.COARSE_ITERS * reference / processes)
    if cfg.is_frozen():
        scaled.freeze()
    return scaled
