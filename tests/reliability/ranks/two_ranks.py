"""Run as a program: two gloo processes and one alone do the same work; results go to a folder, for the tests.

Usage: two_ranks.py FOLDER. Writes <world>_<rank>.pth: gradients, draws of both loaders, evaluation.
"""

from __future__ import annotations

import multiprocessing
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch  # noqa: E402
from detectron2.modeling import build_model  # noqa: E402
from detectron2.utils.env import seed_all_rng  # noqa: E402
from tiny import fake_input, tiny_cfg  # noqa: E402

from mestad_d2.data.loaders import build_train_loader, build_unlabeled_loader  # noqa: E402
from mestad_d2.engine.launch import join  # noqa: E402
from mestad_d2.engine.trainer import MESTADTrainer, create_ddp_model, device_ids  # noqa: E402

BOXES = [[[4, 6, 40, 60]], [[30, 8, 60, 50], [4, 4, 20, 40], [50, 10, 78, 60]], [], [[10, 10, 50, 50]] * 2]


def gradients(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Gradients of one joint batch of four clips with 1, 3, 0 and 2 persons, sharded over the processes."""
    frozen = ["MODEL.VIDEO_RESNET.NORM", "FrozenBN", "MODEL.ROI_ACTION_HEAD.DROPOUT", 0.0]
    cfg = tiny_cfg(*frozen, "MODEL.FCOS.PRIOR_PROB", 0.3)
    seed_all_rng(5 + rank)
    model = build_model(cfg)
    model.load_state_dict(torch.load(Path(sys.argv[1]) / "weights.pth", weights_only=True))
    model.train()
    model = create_ddp_model(model, broadcast_buffers=False, **device_ids(cfg))
    clips = [fake_input(boxes, seed=i) for i, boxes in enumerate(BOXES)]
    share = len(clips) // world
    sum(model(clips[rank * share : (rank + 1) * share]).values()).backward()
    named = getattr(model, "module", model).named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def work(rank: int, world: int, folder: Path, url: str) -> None:
    """All of it, in one process of ``world``."""
    if world > 1:
        join(url, rank, world, world)
    result = {"gradients": gradients(rank, world)}
    cfg = tiny_cfg("SEED", 1, "OUTPUT_DIR", folder / f"out{world}", "SEMISUP.ENABLED", True, "SOLVER.IMS_PER_BATCH", 4,
                   "MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.0, "SEMISUP.UNLABELED_RATIO", 1.5,
                   "TEST.BATCH_SIZE", 1)  # fmt: skip
    for name, build in (("labelled", build_train_loader), ("unlabelled", build_unlabeled_loader)):
        batches = iter(build(cfg).batch_sampler)
        result[name] = [next(batches) for _ in range(5)]
    model = build_model(cfg)
    model.load_state_dict(torch.load(folder / "weights.pth", weights_only=True))
    flat = MESTADTrainer.test(cfg, model.eval())
    result["evaluation"] = {group: {k: float(v) for k, v in part.items()} for group, part in flat.items()}
    torch.save(result, folder / f"{world}_{rank}.pth")


def main() -> None:
    """Two processes, then one."""
    folder = Path(sys.argv[1])
    seed_all_rng(0)
    torch.save(build_model(tiny_cfg()).state_dict(), folder / "weights.pth")
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=work, args=(rank, 2, folder, f"file://{folder}/meet")) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    work(0, 1, folder, "")


if __name__ == "__main__":
    main()
