"""Benchmark of reading random clips of a film, against plain decoding of the same spans with PyAV."""

from __future__ import annotations

import argparse
import json
import resource
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mestad_d2.formats.files import atomic_path
from mestad_d2.video.clips import clip_times
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source

LOOP_SECONDS = 60


def write_film(path: Path, seconds: float, fps: int = 30, size: tuple[int, int] = (720, 1280)) -> None:
    """Write an h264 film: a camera that pans over a textured picture, with key frames every 250 frames.

    A minute is encoded and then repeated, so that a long film takes no longer to make.
    """
    rng = np.random.default_rng(0)
    height, width = size
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, width // 8), dtype=np.float32))
    scene = torch.nn.functional.interpolate(coarse, (2 * height, 2 * width), mode="bicubic").clamp(0, 1)
    picture = (scene[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    total = round(seconds * fps)
    unit = min(total, LOOP_SECONDS * fps)
    with atomic_path(path, keep_suffix=True) as part, av.open(str(part), "w") as container:
        options = {"preset": "veryfast", "crf": "26", "g": "250"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        packets = []
        for index in range(unit):
            x = int(width * (0.5 + 0.45 * np.sin(index / 150)))
            y = int(height * (0.5 + 0.45 * np.sin(index / 97)))
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[y : y + height, x : x + width]), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, fps)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        stamps = [(packet.pts, packet.dts, packet.time_base) for packet in packets]
        for first in range(0, total, unit):
            for packet, (pts, dts, base) in zip(packets, stamps, strict=True):
                shift = round(Fraction(first, fps) / base)
                packet.pts, packet.dts, packet.time_base = pts + shift, dts + shift, base
                container.mux(packet)


def decode_span(container: av.container.InputContainer, start: float, end: float) -> int:
    """Decode from the codec's key frame before ``start`` to ``end`` (s); returns the number of frames."""
    stream = container.streams.video[0]
    container.seek(int(max(start, 0) / stream.time_base), stream=stream)
    frames = 0
    for frame in container.decode(stream):
        frames += 1
        if frame.time >= end:
            break
    return frames


class _RandomClips(Dataset):
    def __init__(self, path: Path, clips: int, frames: int, stride: int, short_side: int) -> None:
        self.path, self.clips, self.short_side = str(path), clips, short_side
        self.frames, self.stride = frames, stride
        self.duration = open_source(self.path).duration

    def __len__(self) -> int:
        return self.clips

    def times(self, index: int) -> np.ndarray:
        """Times of clip ``index`` in s."""
        half = self.frames * self.stride / 60
        center = np.random.default_rng(index).uniform(half, self.duration - half)
        return clip_times(center, self.frames, self.stride, 30.0)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(read_frames(self.path, self.times(index), short_side=self.short_side))


def time_pairs(dataset: _RandomClips, count: int) -> dict[str, float]:
    """Measure over ``count`` clips the medians of ms to read, of ms to decode their spans, and of the ratio."""
    container = av.open(dataset.path)
    container.streams.video[0].thread_type = "AUTO"
    spans = [(times[0], times[-1]) for times in map(dataset.times, range(count))]
    dataset[0], decode_span(container, *spans[0])
    seconds = np.empty((count, 2))
    for index, span in enumerate(spans):
        # Neighbours in time, and first in turns, so that other load on the machine hits both alike.
        for which in (0, 1) if index % 2 else (1, 0):
            begin = time.perf_counter()
            if which == 0:
                dataset[index]
            else:
                decode_span(container, *span)
            seconds[index, which] = time.perf_counter() - begin
    container.close()
    low, ratio, high = np.percentile(seconds[:, 0] / seconds[:, 1], (25, 50, 75))
    return {
        "ms_per_clip": round(1e3 * float(np.median(seconds[:, 0])), 1),
        "ms_raw_decode": round(1e3 * float(np.median(seconds[:, 1])), 1),
        "ratio": round(float(ratio), 3),
        "ratio_quartiles": [round(float(low), 3), round(float(high), 3)],
        "ratio_of_sums": round(float(seconds[:, 0].sum() / seconds[:, 1].sum()), 3),
    }


def loader_speed(dataset: _RandomClips, workers: int) -> dict[str, float]:
    """Measure a loader's clips per second, from its first clip on, and the largest memory of a worker (MB)."""
    loader = iter(DataLoader(dataset, num_workers=workers, batch_size=None))
    next(loader)
    begin = time.perf_counter()
    served = sum(1 for _ in loader)
    figures = {"loader_clips_per_s": round(served / (time.perf_counter() - begin), 2)}
    if workers:
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        figures["worker_peak_memory_mb"] = round(peak / 1024, 1)
    return figures


def memory_slope(dataset: _RandomClips, count: int) -> dict[str, float]:
    """Measure the resident memory (MB) over ``count`` clips; the slope is fitted after the first tenth."""
    memory = np.empty(count)
    for index in range(count):
        dataset[index]
        memory[index] = _resident_mb()
    settled = memory[count // 10 :]
    slope = np.polyfit(np.arange(len(settled)), settled, 1)[0] if len(settled) > 1 else 0.0
    return {
        "memory_clips": count,
        "memory_mb_settled": round(float(settled[0]), 1),
        "memory_mb_end": round(float(settled[-1]), 1),
        "memory_mb_per_1000_clips": round(1000 * float(slope), 2),
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main(argv: list[str] | None = None) -> None:
    """Run ``tools/benchmark.py --task data``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--video", type=Path, default=Path("output/benchmark/film.mp4"), help="made if absent"
    )
    parser.add_argument(
        "--seconds", type=float, default=900.0, help="of the film that is made, in whole minutes"
    )
    parser.add_argument("--height", type=int, default=720, help="of the film that is made, 16:9")
    parser.add_argument("--clips", type=int, default=100, help="clips that are timed")
    parser.add_argument("--memory-clips", type=int, default=2000, help="clips that memory is watched over")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--short-side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    if not args.video.exists():
        args.video.parent.mkdir(parents=True, exist_ok=True)
        write_film(args.video, args.seconds, size=(args.height, args.height * 16 // 9 // 2 * 2))
    dataset = _RandomClips(args.video, args.clips, args.frames, args.stride, args.short_side)
    # The loader first: its workers are forked and share this process's memory.
    figures = loader_speed(dataset, args.workers)
    figures |= time_pairs(dataset, args.clips)
    if args.memory_clips:
        figures |= memory_slope(dataset, args.memory_clips)
    print(json.dumps(figures, indent=2))
