"""Start training in one or more processes: alone, through detectron2's ``launch``, on CPUs, or under ``torchrun``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.engine import launch
from detectron2.utils import comm

from mestad_d2.errors import UserError
from mestad_d2.process_setup import EXIT_SAVED

# Timeout of the processes on other machines; the end of an evaluation, where the others wait for the main
# process, must fit into it.
TIMEOUT = timedelta(minutes=30)
TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def start(main: Callable[[Namespace], Any], args: Namespace) -> Any:
    """Run ``main(args)`` in as many processes as asked for; exit with the code of one that fails.

    Under ``torchrun`` (its variables are set) this process is one of them. Otherwise ``args`` has
    detectron2's ``num_gpus``, ``num_machines``, ``machine_rank`` and ``dist_url``; without a GPU,
    ``num_gpus`` counts CPU processes, which talk through gloo (detectron2 0.5 starts none).

    Raises:
        UserError: more processes on this machine than it has GPUs.
    """
    if all(name in os.environ for name in TORCHRUN):
        return _below_torchrun(main, args)
    if args.num_gpus * args.num_machines <= 1:
        return main(args)
    if args.num_machines > 1 and args.dist_url == "auto":
        raise UserError("--dist-url: several machines need one; give tcp://<first machine>:<port>")
    gpus = torch.cuda.device_count()
    if gpus and args.num_gpus > gpus:
        raise UserError(f"--num-gpus {args.num_gpus}: this machine has {gpus}")
    with _PassSignalsOn() as signals:
        try:
            if gpus:
                where = {"num_machines": args.num_machines, "machine_rank": args.machine_rank}
                launch(main, args.num_gpus, **where, dist_url=args.dist_url, args=(args,), timeout=TIMEOUT)
            else:
                mp.spawn(_cpu_process, (main, _address(args), args), nprocs=args.num_gpus)
        except mp.ProcessExitedException as error:
            # The process itself has printed why; a signal's number is negative here, and 128 + n in shells.
            if signals.passed and error.exit_code == -signal.SIGTERM:
                # It came before the process listened, so there is nothing to save.
                sys.exit(EXIT_SAVED)
            sys.exit(error.exit_code if error.exit_code >= 0 else 128 - error.exit_code)
    return None


def _address(args: Namespace) -> str:
    """Where the processes meet; "auto" is a free port of this machine."""
    if args.dist_url != "auto":
        return args.dist_url
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    return f"tcp://127.0.0.1:{store.port}"


def _cpu_process(local_rank: int, main: Callable, url: str, args: Namespace) -> None:
    rank = args.machine_rank * args.num_gpus + local_rank
    join(url, rank, args.num_gpus * args.num_machines, args.num_gpus)
    main(args)


def _below_torchrun(main: Callable[[Namespace], Any], args: Namespace) -> Any:
    rank, world, local_rank, local_world = (int(os.environ[name]) for name in TORCHRUN[:4])
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    join("env://", rank, world, local_world)
    return main(args)


def join(url: str, rank: int, world: int, local_world: int) -> None:
    """Join the process group, and tell detectron2 which processes share this machine.

    Args:
        url: ``init_method`` of torch.distributed.
        rank: of ``world`` processes; machines have consecutive ranks, ``local_world`` each.
    """
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=url, rank=rank, world_size=world, timeout=TIMEOUT)
    for first in range(0, world, local_world):
        ranks = list(range(first, first + local_world))
        group = dist.new_group(ranks)
        if rank in ranks:
            comm._LOCAL_PROCESS_GROUP = group
    comm.synchronize()


class _PassSignalsOn:
    """Pass SIGTERM and SIGINT on to the child processes, which save and end."""

    def __enter__(self) -> _PassSignalsOn:
        self.passed = False
        self._before = {n: signal.signal(n, self._pass) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _pass(self, number: int, frame: FrameType | None) -> None:
        children = [c for c in multiprocessing.active_children() if c.pid is not None and c.is_alive()]
        if not children:
            before = self._before[number]
            if callable(before):
                before(number, frame)
            sys.exit(EXIT_SAVED)
        self.passed = True
        for child in children:
            os.kill(child.pid, signal.SIGTERM)
