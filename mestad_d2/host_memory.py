"""Memory settings of a process that computes on the CPU (ours)."""

from __future__ import annotations

import ctypes

import torch

# mallopt's parameters, by the C library's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_MOST = 2**31 - 1
_STEP = 64 << 20


def keep_freed_memory(device: str | torch.device = "cpu") -> bool:
    """Keep freed memory in the process for its next tensors when computing on the CPU.

    Otherwise the C library returns large tensors to the system, and every new one causes page faults at first
    use: a sixth of a small detector's training step. The process's size
    stays at its peak until it ends. Called once, by programs, not by the library on their behalf.

    Args:
        device: where the network is; on others than the CPU nothing is changed.

    Returns:
        whether it took effect: not on other devices, nor with other C libraries than glibc.
    """
    if torch.device(device).type != "cpu":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # One arena: the memory kept in one arena per thread would grow with a video's length.
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _STEP))
    return mallopt is not None and all([mallopt(name, value) for name, value in wanted])
