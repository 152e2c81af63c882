"""Memory of a process that computes on the CPU (ours)."""

from __future__ import annotations

import ctypes

import torch

# mallopt's parameters, by the C library's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_MOST = 2**31 - 1
_STEP = 64 << 20


def keep_freed_memory(device: str | torch.device = "cpu") -> bool:
    """Let the process keep the memory that it frees, for its next tensors, where it computes on a CPU.

    Otherwise the C library hands large tensors back to the system, and the next ones are paid for again,
    page by page, at their first touch: a sixth of a small detector's training step. The process's size
    stays at its peak until it ends. Called once, by programs, not by the library on their behalf.

    Args:
        device: where the network is; on others than the CPU nothing is changed.

    Returns:
        whether it took effect: not on other devices, nor with other C libraries than glibc.
    """
    if torch.device(device).type != "cpu":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # One arena: what each thread kept in its own would grow with a video's length.
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _STEP))
    return mallopt is not None and all([mallopt(name, value) for name, value in wanted])
