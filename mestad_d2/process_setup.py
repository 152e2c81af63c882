"""What a program sets before its work: imports it need not load, early signals, memory that it keeps (ours)."""

from __future__ import annotations

import atexit
import ctypes
import gc
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType, ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

COMPILER = "torch._dynamo"
# sysexits.h's EX_TEMPFAIL, "try again": what was saved goes on with --resume.
EXIT_SAVED = 75
_codes: dict[int, int] = {}
# mallopt's parameters, by the C library's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_MOST = 2**31 - 1
_STEP = 64 << 20


def start_quickly() -> None:
    """Load torchvision without torch's compiler, and leave out warnings that no user can act on.

    torchvision imports ``torch._dynamo`` only to ask, where results must be deterministic, whether it can compile;
    that import takes nearly as long as torch itself. The compiler is loaded when it is first used. Called by
    programs before their other imports; the library does not do it on their behalf.
    """
    # detectron2, fvcore and torchvision script functions while they are loaded; torch 2.10 and later warn of each.
    warnings.filterwarnings("ignore", message="`torch.jit.script", category=FutureWarning)
    if COMPILER in sys.modules or "torchvision" in sys.modules:
        return
    import torch  # noqa: F401  (before the stand-in, which is for torchvision alone)

    if COMPILER in sys.modules:
        return
    parent, utils = ModuleType(COMPILER), ModuleType(f"{COMPILER}.utils")
    utils.is_compile_supported = _is_compile_supported
    sys.modules |= {COMPILER: parent, f"{COMPILER}.utils": utils}
    try:
        import torchvision  # noqa: F401
    except (ImportError, AttributeError):
        # Another version asks for more: it gets the compiler itself, from whoever imports it next.
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
    finally:
        for name in (COMPILER, f"{COMPILER}.utils"):
            del sys.modules[name]


def _is_compile_supported(device_type: str) -> bool:
    from torch._dynamo.utils import is_compile_supported

    return is_compile_supported(device_type)


def _leave(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    # A log on a full disk must not change the exit code.
    with suppress(OSError):
        os.write(2, f"{name}: nothing new to save; the same command goes on\n".encode())
    with suppress(OSError):
        sys.stdout.flush()
    # Not an exception: in the midst of an import it could be caught.
    os._exit(_codes[number])


def _ignore_signals() -> None:
    # Python resets handlers while it shuts down, but not this one: what is done keeps its exit code.
    for number in _codes:
        signal.signal(number, signal.SIG_IGN)


def leave_on_signals(codes: Mapping[int, int] | None = None) -> None:
    """Exit with these codes on these signals until the tool installs its own handlers or has ended.

    Args:
        codes: exit code by signal; by default training's, ``EXIT_SAVED`` on SIGTERM and SIGINT.
    """
    _codes.update(codes or {signal.SIGTERM: EXIT_SAVED, signal.SIGINT: EXIT_SAVED})
    for number in _codes:
        signal.signal(number, _leave)
    atexit.register(_ignore_signals)


def keep_freed_memory(device: str | torch.device = "cpu") -> bool:
    """Keep freed memory in the process for its next tensors when computing on the CPU.

    Otherwise the C library returns large tensors to the system, and every new one causes page faults at first
    use: a sixth of a small detector's training step. The process's size stays at its peak until it ends, or until
    ``return_freed_memory``. Called once, by programs, not by the library on their behalf.

    Args:
        device: where the network is; on others than the CPU nothing is changed.

    Returns:
        whether it took effect: not on other devices, nor with other C libraries than glibc.
    """
    import torch

    if torch.device(device).type != "cpu":
        return False
    mallopt = _in_c_library("mallopt")
    # One arena: the memory kept in one arena per thread would grow with a video's length.
    wanted = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _MOST), (_TOP_PAD, _STEP))
    return mallopt is not None and all([mallopt(name, value) for name, value in wanted])


def return_freed_memory() -> bool:
    """Return memory that nothing uses any more to the system, the opposite of ``keep_freed_memory``, for once.

    For a server between two requests: small things that outlive a request lie between the large blocks that it freed, so
    that the next one finds no room there, and the process grows for hours. Costs 40 to 120 ms of CPU time for a heap of
    0.3 to 1 GB, page faults in the next request, and a garbage collection, which takes a second unless ``gc.freeze``
    was called after loading.

    Returns:
        whether something was returned: not with other C libraries than glibc.
    """
    gc.collect()
    trim = _in_c_library("malloc_trim")
    return trim is not None and bool(trim(0))


def _in_c_library(name: str) -> Callable[..., int] | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):
        # Windows has no library of all symbols.
        return None
