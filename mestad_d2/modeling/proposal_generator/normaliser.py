"""What a loss is divided by, the same on every process."""

from __future__ import annotations

import torch.distributed as dist
from detectron2.utils import comm
from torch import Tensor


def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a scalar tensor over all processes, detached; the value itself when there is one."""
    value = value.detach().clone()
    if comm.get_world_size() > 1:
        dist.all_reduce(value)
        value /= comm.get_world_size()
    return value
