"""Optimisers by name."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from torch import nn

from mestad_d2.errors import UserError


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """SGD or AdamW (``SOLVER.OPTIMIZER``); norms and biases have their own weight decay.

    Raises:
        UserError: an unknown optimiser.
    """
    solver = cfg.SOLVER
    norms = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)
    groups: dict[float, list[nn.Parameter]] = {}
    seen: set[int] = set()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in seen:
                continue
            seen.add(id(parameter))
            if isinstance(module, norms):
                decay = solver.WEIGHT_DECAY_NORM
            elif name == "bias" and solver.WEIGHT_DECAY_BIAS is not None:
                decay = solver.WEIGHT_DECAY_BIAS
            else:
                decay = solver.WEIGHT_DECAY
            groups.setdefault(decay, []).append(parameter)
    params = [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()]
    if solver.OPTIMIZER == "SGD":
        return torch.optim.SGD(params, lr=solver.BASE_LR, momentum=solver.MOMENTUM, nesterov=solver.NESTEROV)
    if solver.OPTIMIZER == "AdamW":
        return torch.optim.AdamW(params, lr=solver.BASE_LR)
    raise UserError(f"SOLVER.OPTIMIZER: unknown optimiser {solver.OPTIMIZER!r}; use SGD or AdamW")
