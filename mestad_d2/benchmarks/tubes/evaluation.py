"""CPU time and peak memory of the evaluation of tubes on a dataset of UCF101-24's size.

``--peer`` runs a published evaluator with MultiSports' interface (evaluate_multisports.py, frameAP and videoAP)
on the same pickles in the same run.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mestad_d2.evaluation.tubes.frame_map import frame_map
from mestad_d2.evaluation.tubes.protocols import get_protocol
from mestad_d2.evaluation.tubes.video_map import video_map
from mestad_d2.formats.tubes.detections import read_detections
from mestad_d2.formats.tubes.ground_truth import read_truth

VIDEOS, FRAMES, CLASSES, A_FRAME = 914, 165_000, 24, 3
THRESHOLDS = [0.2, 0.5, 0.75, *(0.5 + 0.05 * i for i in range(10))]


def main(argv: list[str]) -> None:
    """Print one JSON object: CPU seconds and peak memory of ours, and of the peer where one is given."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task tubes", description=__doc__)
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--protocol", default="multisports")
    parser.add_argument("--peer", type=Path, help="evaluate_multisports.py of MCG-NJU/MultiSports")
    parser.add_argument("--repeats", type=int, default=1, help="interleaved; the median is reported")
    parser.add_argument("--output", help="write the figures to this JSON file too")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        files = write_ucf_size(Path(folder), args.videos, args.frames)
        runs: dict[str, list[dict]] = {}
        for _ in range(args.repeats):
            runs.setdefault("ours", []).append(_in_process(ours, *files, args.protocol))
            if args.peer:
                runs.setdefault("peer", []).append(_in_process(published, *files, str(args.peer)))
    figures: dict = {"videos": args.videos, "frames": args.frames, "classes": CLASSES}
    for who, results in runs.items():
        figures[who] = {key: float(np.median([r[key] for r in results])) for key in results[0]}
    if "peer" in figures:
        for key in ("seconds", "count_seconds"):
            figures[f"peer / ours, {key}"] = round(figures["peer"][key] / figures["ours"][key], 1)
    text = json.dumps(figures, indent=1)
    print(text)
    if args.output:
        Path(args.output).write_text(text + "\n")


def write_ucf_size(folder: Path, videos: int, frames: int, seed: int = 0) -> tuple[str, str, str]:
    """Write pickles in MultiSports' layout: ground truth, frame detections and tubes; returns their paths.

    One class a video and one or two actors, as in UCF101-24; three detections a frame and class, three tubes a
    video and class, those of the video's own class around its actors.
    """
    rng = np.random.default_rng(seed)
    names = [f"C{v % CLASSES:02d}/v_{v:04d}" for v in range(videos)]
    lengths = np.diff(np.linspace(0, frames, videos + 1).astype(int))
    truth = {"labels": [f"C{c:02d}" for c in range(CLASSES)], "test_videos": [names], "train_videos": [[]]}
    truth |= {"nframes": dict(zip(names, lengths.tolist(), strict=True)), "gttubes": {}}
    truth["resolution"] = {name: (240, 320) for name in names}
    rows, tubes = [], {c: [] for c in range(CLASSES)}
    for v, (name, n) in enumerate(zip(names, lengths.tolist(), strict=True)):
        actors = [_path(rng, n) for _ in range(1 + v % 2)]
        truth["gttubes"][name] = {v % CLASSES: [a[n // 10 : n - n // 10] for a in actors]}
        for c in range(CLASSES):
            own = c == v % CLASSES
            for k in range(A_FRAME):
                path = actors[k % len(actors)].copy() if own else _path(rng, n)
                path[:, 1:] += rng.normal(0, 4, (n, 4))
                scores = rng.uniform(0.01, 1.0 if own else 0.5, n).astype(np.float32)
                tubes[c].append((name, float(scores.mean()), np.column_stack([path, scores])))
                head = np.empty((n, 8), np.float32)
                head[:, 0], head[:, 1], head[:, 2], head[:, 3] = v, path[:, 0], c, scores
                head[:, 4:] = path[:, 1:]
                rows.append(head)
    paths = [folder / name for name in ("gt.pkl", "frames.pkl", "tubes.pkl")]
    for path, content in zip(paths, (truth, np.concatenate(rows), tubes), strict=True):
        with open(path, "wb") as file:
            pickle.dump(content, file, protocol=4)
    return tuple(map(str, paths))


def ours(gt: str, frames: str, tubes: str, protocol: str) -> dict[str, float]:
    """Read the pickles, frame-mAP at 0.5 and video-mAP at 0.2, 0.5, 0.75 and 0.5:0.95."""
    rules = get_protocol(protocol)
    start = time.process_time()
    dataset, truth = read_truth(gt)
    found = read_detections(frames, dataset)
    read_frames = time.process_time()
    by_frame = frame_map(truth, found, dataset.classes, rules).thresholds["0.5"].mean
    frame_done = time.process_time()
    del found
    linked = read_detections(tubes, dataset)
    read_tubes = time.process_time()
    by_video = video_map(truth, linked, dataset.classes, rules).thresholds
    end = time.process_time()
    return {
        "seconds": end - start,
        "frame_seconds": frame_done - start,
        "video_seconds": end - frame_done,
        "count_seconds": frame_done - read_frames + end - read_tubes,
        "frame_mAP": by_frame,
        **{f"video_mAP@{name}": aps.mean for name, aps in by_video.items()},
    }


def published(gt: str, frames: str, tubes: str, path: str) -> dict[str, float]:
    """Evaluate by a published evaluator, which reads its pickles for each threshold."""
    spec = importlib.util.spec_from_file_location("peer_evaluator", path)
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    start = time.process_time()
    by_frame = peer.frameAP(gt, frames, 0.5, print_info=False)
    middle = time.process_time()
    by_video = [peer.videoAP(gt, tubes, threshold, print_info=False) / 100 for threshold in THRESHOLDS]
    end = time.process_time()
    for name in (gt, frames, *[gt, tubes] * len(THRESHOLDS)):
        with open(name, "rb") as file:
            pickle.load(file)
    read = time.process_time() - end
    figures = {"video_mAP@0.2": by_video[0], "video_mAP@0.5": by_video[1], "video_mAP@0.75": by_video[2]}
    return {
        "seconds": end - start,
        "frame_seconds": middle - start,
        "video_seconds": end - middle,
        "count_seconds": end - start - read,
        "frame_mAP": by_frame / 100,
        **figures,
        "video_mAP@0.5:0.95": float(np.mean(by_video[3:])),
    }


def _path(rng: np.random.Generator, frames: int) -> np.ndarray:
    """A box that drifts through a picture of 320 x 240: rows frame, x1, y1, x2, y2, float32."""
    corner = rng.uniform((0, 0), (200, 120)) + np.cumsum(rng.normal(0, 0.5, (frames, 2)), axis=0)
    size = rng.uniform(30, 100, 2)
    return np.column_stack([np.arange(1, frames + 1), corner, corner + size]).astype(np.float32)


def _in_process(function: Callable[..., dict], *arguments: str) -> dict[str, float]:
    """Run in a fresh process, and add the peak of its memory."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_with_memory, (function, arguments))


def _with_memory(function: Callable[..., dict], arguments: tuple[str, ...]) -> dict[str, float]:
    figures = function(*arguments)
    status = Path("/proc/self/status")
    peak = [line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return figures | {"peak_megabytes": int(peak[0]) / 1024}
