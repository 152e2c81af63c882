#!/usr/bin/env python
"""Train, resume, evaluate and detect in a loop under random faults: scripts/soak.py --minutes 120 --output FOLDER.

Each round trains a tiny toy detector with faults until it is done, then detects with faults. Its weights and
results must be those of an undisturbed round, bit for bit. The table counts faults by kind; "lost" is a round
whose result differs, or a start that ends in a way that is not promised (docs/reliability.md).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch

from mestad_d2.data.toy.dataset import make_toy

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/toy/SlowOnly_tiny_TLA.yaml"
SMALL = [
    "MODEL.VIDEO_RESNET.WIDTH", "4", "MODEL.FPN.OUT_CHANNELS", "8", "MODEL.FCOS.CONV_DIM", "8",
    "MODEL.FCOS.NUM_CONVS", "1", "INPUT.CLIP.NUM_FRAMES", "4", "SOLVER.IMS_PER_BATCH", "2", "MODEL.DEVICE", "cpu",
    "SOLVER.WARMUP_ITERS", "2", "SOLVER.CHECKPOINT_PERIOD", "5", "SEMISUP.BURN_IN_ITERS", "20", "SOLVER.MAX_ITER",
    "40", "TEST.EVAL_PERIOD", "15", "TEST.BATCH_SIZE", "4", "SEMISUP.TEACHER_SCORE_THRESH", "0.05",
    "MODEL.FCOS.PRIOR_PROB", "0.3", "SEED", "3",
]  # fmt: skip
# Sent to a running process after a random time; 0 is none at all.
SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT, "SIGKILL": signal.SIGKILL}
# Done to the folder between two starts, or to the process that starts.
FOLDER_FAULTS = ("tag removed", "newest cut", "byte changed", "clock jump", "full disk", "stalled loader")
FAULTY_STARTS = 8
# Seconds after which a start counts as stuck; a start of half a minute takes many on a machine with other work.
STUCK = 3600
# What a disturbed start may end with: done, full disk, saved, killed.
TRAIN_CODES, DETECT_CODES = {0, 2, 75, -9}, {0, 130, 143, -9}


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints of a run, the newest last."""
    return sorted(folder.glob("model_*[0-9].pth"))


def disturb(fault: str, folder: Path, draw: random.Random) -> None:
    """Do one of FOLDER_FAULTS to a run's folder, leaving at least one good checkpoint."""
    found = checkpoints(folder)
    if fault == "tag removed":
        (folder / "last_checkpoint").unlink(missing_ok=True)
    elif fault == "clock jump":
        for path in found:
            os.utime(path, (draw.randrange(2**31), draw.randrange(2**31)))
    elif len(found) > 1 and fault == "newest cut":
        found[-1].write_bytes(found[-1].read_bytes()[: draw.randrange(1, 2000)])
    elif len(found) > 1 and fault == "byte changed":
        content = bytearray(found[-1].read_bytes())
        content[len(content) // 2] ^= 255
        found[-1].write_bytes(content)


def limit(fault: str, draw: random.Random) -> None:
    """Limit the size of files in the new process, as on a full disk."""
    if fault == "full disk":
        size = draw.randrange(20_000, 400_000)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def start(
    command: list[str], log: Path, fault: str, number: int, draw: random.Random, within: float
) -> tuple[int, bool]:
    """Run a command, and send it a signal after at most ``within`` s; its exit code, and whether one was sent.

    A process that dies of a signal while Python itself starts counts as killed (-9).
    """
    with log.open("a") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, preexec_fn=lambda: limit(fault, draw)
        )
        if fault == "stalled loader":
            time.sleep(within / 3)
            process.send_signal(signal.SIGSTOP)
            time.sleep(2)
            process.send_signal(signal.SIGCONT)
        if number:
            try:
                process.wait(draw.uniform(0.05, within))
            except subprocess.TimeoutExpired:
                early = not has_begun(process.pid)
                process.send_signal(number)
                # Before the tool's first line the system ends the process, or Python itself with a traceback.
                if early and process.wait(STUCK) in (-number, 1):
                    return -signal.SIGKILL, True
        return process.wait(STUCK), bool(number)


def has_begun(pid: int) -> bool:
    """Return whether a tool has come to its first lines: it listens to SIGTERM, or has loaded what it imports later."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    listens = caught is not None and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1
    return bool(listens) or "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def train_command(folder: Path, data: Path) -> list[str]:
    """Return the command line that resumes a run."""
    command = [sys.executable, "-W", "ignore", "tools/train_net.py", "--resume", "--config-file", CONFIG]
    return [*command, *SMALL, "OUTPUT_DIR", str(folder)]


def detect_command(weights: Path, videos: Path, output: Path) -> list[str]:
    """Return the command line of ``detect_many`` on the toy's videos."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        "tools/detect_many.py",
        "--config-file",
        CONFIG,
        "--workers",
        "1",
    ]
    command += ["--list", str(videos), "--output", str(output), "--person-threshold", "0", "--opts", *SMALL]
    return [*command, "MODEL.PROPOSALS.SCORE_THRESH_TEST", "0.0", "MODEL.WEIGHTS", str(weights)]


def results(output: Path) -> dict[str, str]:
    """Return the results of ``detect_many`` by name."""
    return {path.name: path.read_text() for path in sorted(output.glob("*.jsonl"))}


def disturbed(command: list[str], folder: Path, done: Path, counts: Counter, draw: random.Random, within: float,
              allowed: set[int], training: bool) -> list[str]:  # fmt: skip
    """Start a command under faults until it is done; what was not as promised."""
    wrong = []
    for attempt in range(FAULTY_STARTS + 5):
        # After that many it may come to its end.
        calm = attempt >= FAULTY_STARTS
        name = "none" if calm else draw.choice([*SIGNALS])
        fault = draw.choice(FOLDER_FAULTS) if training and not calm else "none"
        if folder.is_dir():
            disturb(fault, folder, draw)
        code, sent = start(command, folder.with_suffix(".log"), fault, SIGNALS.get(name, 0), draw, within)
        counts.update(kind for kind in (name if sent else "none", fault) if kind != "none")
        if code not in allowed:
            wrong.append(f"exit code {code} after {name}, {fault}")
            print(f"{folder.name}: {wrong[-1]}; see {folder.with_suffix('.log')}", flush=True)
        if code == 0 and done.exists():
            return wrong
    return [*wrong, "never done"]


def main() -> int:
    """Soak until the time is over; return the number of rounds with losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "soak")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    draw, counts, lost, rounds = random.Random(args.seed), Counter(), [], 0
    args.output.mkdir(parents=True, exist_ok=True)
    data = args.output / "datasets"
    if not (data / "toy").exists():
        make_toy(data / "toy", seed=0, videos=2, val_videos=1, seconds=6)
    os.environ |= {
        "DETECTRON2_DATASETS": str(data.resolve()),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    videos = args.output / "videos.txt"
    videos.write_text("".join(f"{path.resolve()}\n" for path in sorted((data / "toy" / "videos").iterdir())))
    right, found = args.output / "undisturbed", args.output / "undisturbed_results"
    began = time.monotonic()
    start(train_command(right, data), right.with_suffix(".log"), "none", 0, draw, 0)
    within = (time.monotonic() - began) * 1.1
    weights = right / "model_final.pth"
    began = time.monotonic()
    start(detect_command(weights, videos, found), found.with_suffix(".log"), "none", 0, draw, 0)
    within_detection = (time.monotonic() - began) * 1.1
    state = torch.load(weights, weights_only=True)["model"]
    end = time.monotonic() + 60 * args.minutes
    while time.monotonic() < end:
        folder = args.output / f"round{rounds}"
        wrong = disturbed(train_command(folder, data), folder, folder / "model_final.pth", counts, draw,
                          within, TRAIN_CODES, True)  # fmt: skip
        if (folder / "model_final.pth").exists():
            mine = torch.load(folder / "model_final.pth", weights_only=True)["model"]
            wrong += [f"weights differ: {key}" for key in state if not torch.equal(state[key], mine[key])][:1]
        output = args.output / f"round{rounds}_results"
        wrong += disturbed(detect_command(weights, videos, output), output, output / "settings.json", counts, draw,
                           within_detection, DETECT_CODES, False)  # fmt: skip
        wrong += [] if results(output) == results(found) else ["detections differ"]
        lost += [f"round {rounds}: {text}" for text in wrong]
        rounds += 1
        print(f"round {rounds}: {sum(counts.values())} faults, {len(lost)} lost", flush=True)
    summary = {"rounds": rounds, "faults": dict(counts), "total": sum(counts.values()), "lost": lost}
    (args.output / "soak.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(json.dumps(summary, indent=1))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
