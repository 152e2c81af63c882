#!/usr/bin/env python
"""Train every backbone from scratch at reduced width on the toy dataset, and evaluate it.

scripts/toy_backbones.py [--output output/toy_backbones] [--only hiera videomae] [--jobs 3] [--opts KEY VALUE ...]

The toy dataset must be there (python -m mestad_d2.data.toy.dataset --output datasets/toy). Figures are appended to
--results, one line a run; runs that are in it are not repeated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.reproduce.execution import read_metrics

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "toy" / "SlowOnly_tiny.yaml"
SCHEDULE = ["SOLVER.MAX_ITER", "300", "SOLVER.WARMUP_ITERS", "50", "SOLVER.CHECKPOINT_PERIOD", "100000"]
# What the demo's short training does: people first, few boxes of each clip, and thinned clips until near the end.
SHORT = [
    *("MODEL.ROI_ACTION_HEAD.LOSS_WEIGHT", "1.0", "MODEL.ROI_ACTION_HEAD.SPATIAL_POOL", "avg"),
    *("MODEL.ROI_ACTION_HEAD.POSITIVES_PER_CLIP", "8", "INPUT.CLIP.COARSE_ITERS", "250"),
]
# Patches of 16 pixels are as wide as a person of the toy: twice the size gives plain transformers the grid of people
# that they have on AVA.
LARGE = ["INPUT.MIN_SIZE_TRAIN", "(256,)", "INPUT.MIN_SIZE_TEST", "256", "INPUT.CROP.SIZE", "[224,288]"]


def narrow(name: str, variant: str, width: int, blocks: str = "[1,1,1,1]") -> list[str]:
    """Return the options of a backbone of ``MODEL.VIDEO_BACKBONE`` at reduced width."""
    node = "MODEL.VIDEO_BACKBONE."
    size = [node + "WIDTH", str(width), node + "STAGE_BLOCKS", blocks]
    return ["MODEL.BACKBONE.NAME", f"build_{name}_backbone", node + "VARIANT", variant, *size]


PLAIN = ["MODEL.ROI_ACTION_HEAD.IN_FEATURE", "res4"]
RUNS = {
    "videomae": [*narrow("videomae", "b", 96), *PLAIN, *LARGE],
    "hiera": narrow("hiera", "b", 24, "[1,1,2,1]"),
    "mvit_v1": narrow("mvit", "v1_b", 24, "[1,1,2,1]"),
    "mvit_v2": narrow("mvit", "v2_s", 24, "[1,1,2,1]"),
    "swin": narrow("swin", "t", 24, "[1,1,2,1]"),
    "vjepa2": [*narrow("vjepa2", "l", 96), *PLAIN, *LARGE, "MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", "0"],
    "vivit": [*narrow("vivit", "b", 96), *PLAIN, *LARGE],
    "x3d": narrow("x3d", "s", 24),
    "slowfast": [
        *("MODEL.BACKBONE.NAME", "build_slowfast_backbone", "MODEL.VIDEO_RESNET.WIDTH", "16"),
        *("MODEL.VIDEO_RESNET.TEMPORAL_KERNELS", "[1,1,1,3,3]"),
    ],
    "slow": [],
    # With the demo's settings; transformers at a third of the learning rate, at which their tokens stay apart.
    "x3d_short": [*narrow("x3d", "s", 24), *SHORT],
    "videomae_short": [*narrow("videomae", "b", 96), *PLAIN, *LARGE, *SHORT, "SOLVER.BASE_LR", "0.001"],
    "vjepa2_short": [
        *(*narrow("vjepa2", "l", 96), *PLAIN, *LARGE, *SHORT),
        *("SOLVER.BASE_LR", "0.001", "MODEL.VIDEO_BACKBONE.FROZEN_BLOCKS", "0"),
    ],
    "vivit_short": [*narrow("vivit", "b", 96), *PLAIN, *LARGE, *SHORT, "SOLVER.BASE_LR", "0.001"],
    "swin_short": [*narrow("swin", "t", 24, "[1,1,2,1]"), *SHORT, "SOLVER.BASE_LR", "0.001"],
    # What the choices of the rows above change.
    "videomae_128": [*narrow("videomae", "b", 96), *PLAIN],
    "hiera_256": [*narrow("hiera", "b", 24, "[1,1,2,1]"), *LARGE],
    "videomae_lr1e-3": [*narrow("videomae", "b", 96), *PLAIN, *LARGE, "SOLVER.BASE_LR", "0.001"],
    "videomae_16": [*narrow("videomae", "b", 96), *PLAIN, *LARGE, "SOLVER.IMS_PER_BATCH", "16"],
    "mvit_v2_256": [*narrow("mvit", "v2_s", 24, "[1,1,2,1]"), *LARGE],
    "vivit_lr1e-3": [*narrow("vivit", "b", 96), *PLAIN, *LARGE, "SOLVER.BASE_LR", "0.001"],
    "videomae_192": [*narrow("videomae", "b", 192), *PLAIN, *LARGE, "SOLVER.BASE_LR", "0.001"],
    "hiera_lr1e-3": [*narrow("hiera", "b", 24, "[1,1,2,1]"), "SOLVER.BASE_LR", "0.001"],
}


def train(name: str, output: Path, opts: list[str], until: float) -> dict:
    """Run one training in a process of its own, or stop it at time ``until``; return its figures."""
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    options = [*SCHEDULE, *RUNS[name], "OUTPUT_DIR", str(folder), *opts]
    command = [sys.executable, str(ROOT / "tools" / "train_net.py"), "--config-file", str(CONFIG), *options]
    began = time.perf_counter()
    with (folder / "run.log").open("w") as log:
        try:
            code = subprocess.run(
                command, stdout=log, stderr=log, check=False, timeout=max(until - time.time(), 1)
            ).returncode
        except subprocess.TimeoutExpired:
            return {"name": name, "error": "out of time"}
    if code:
        return {"name": name, "error": (folder / "run.log").read_text()[-600:]}
    figures = read_metrics(folder / "metrics.json")
    return {
        "name": name,
        **figures,
        "seconds": round(time.perf_counter() - began, 1),
        "options": RUNS[name] + opts,
    }


@one_line_errors()
def main() -> None:
    """Run the queue and append each result as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("output/toy_backbones"))
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="runs by name, in this order (default: all)"
    )
    parser.add_argument(
        "--results", type=Path, help="file of the figures (default: results.jsonl in --output)"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--deadline", type=float, default=1e9, help="seconds after which nothing runs any more"
    )
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ... for every run"
    )
    args = parser.parse_args()
    until, results = time.time() + args.deadline, args.results or args.output / "results.jsonl"
    names = args.only or list(RUNS)
    if unknown := [name for name in names if name not in RUNS]:
        raise UserError(f"--only: no run is called {unknown[0]!r}; there are {', '.join(RUNS)}")
    done = (
        {json.loads(line)["name"] for line in results.read_text().splitlines()}
        if results.is_file()
        else set()
    )

    def one(name: str) -> None:
        result = train(name, args.output, args.opts, until) if time.time() < until - 20 else None
        if result is None or result.get("error") == "out of time":
            return
        with results.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print({key: value for key, value in result.items() if key != "options"}, flush=True)

    args.output.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(one, [name for name in names if name not in done]))


if __name__ == "__main__":
    main()
