"""Max pooling by the library's kernel where compiled code is slow (ours).

Generated code takes channels sixteen at a time in bfloat16; a fast pathway's stem has eight, and falls back to one by
one: 26 ms in place of 7 on the maps of 32x128x128 (one thread).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VECTOR = 16


def _layout(x: Tensor) -> torch.memory_format:
    last = x.is_contiguous(memory_format=torch.channels_last_3d)
    return torch.channels_last_3d if last else torch.contiguous_format


@torch.library.custom_op("mestad_d2::max_pool3d", mutates_args=())
def library_max_pool(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
    """Apply ``max_pool3d`` to (N, C, T, H, W), opaque to the compiler; the memory layout stays."""
    return F.max_pool3d(x, kernel, stride, padding).contiguous(memory_format=_layout(x))


@library_max_pool.register_fake
def _shape_of_pool(x: Tensor, kernel: list[int], stride: list[int], padding: list[int]) -> Tensor:
    places = zip(x.shape[2:], kernel, stride, padding, strict=True)
    sides = [(side + 2 * p - k) // s + 1 for side, k, s, p in places]
    return torch.empty((*x.shape[:2], *sides), dtype=x.dtype, device=x.device, memory_format=_layout(x))


class NarrowPool(nn.MaxPool3d):
    """A pool that uses the library's kernel for narrow bfloat16 maps on the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (N, C, T, H, W)."""
        if x.shape[1] >= VECTOR or x.dtype != torch.bfloat16 or x.device.type != "cpu":
            return super().forward(x)
        return library_max_pool(x, *map(_three, (self.kernel_size, self.stride, self.padding)))


def _three(value: int | tuple[int, ...]) -> list[int]:
    return [value] * 3 if isinstance(value, int) else list(value)


def ease_pooling(model: nn.Module) -> None:
    """Replace the plain 3-D max pools of ``model`` by ``NarrowPool``, in place."""
    for parent in list(model.modules()):
        for name, pool in list(parent.named_children()):
            plain = type(pool) is nn.MaxPool3d and pool.dilation in (1, (1, 1, 1))
            if plain and not (pool.ceil_mode or pool.return_indices):
                setattr(parent, name, NarrowPool(pool.kernel_size, pool.stride, pool.padding))
