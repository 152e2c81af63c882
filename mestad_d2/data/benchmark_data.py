"""Cost of reading random clips of a film, against decoding the same spans with PyAV and nothing else."""

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

from mestad_d2.data.dataset_mapper import clip_times
from mestad_d2.data.video import probe, read_frames


def write_film(path: Path, seconds: float, fps: int = 30, size: tuple[int, int] = (720, 1280)) -> None:
    """Write an h264 film: a camera that pans over a textured picture, with key frames every 250 frames."""
    rng = np.random.default_rng(0)
    height, width = size
    coarse = torch.from_numpy(rng.random((1, 3, height // 8, width // 8), dtype=np.float32))
    scene = torch.nn.functional.interpolate(coarse, (2 * height, 2 * width), mode="bicubic").clamp(0, 1)
    picture = (scene[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)
    part = path.with_suffix(".part.mp4")
    with av.open(str(part), "w") as container:
        options = {"preset": "veryfast", "crf": "26", "g": "250"}
        stream = container.add_stream("libx264", rate=fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(round(seconds * fps)):
            x = int(width * (0.5 + 0.45 * np.sin(index / 150)))
            y = int(height * (0.5 + 0.45 * np.sin(index / 97)))
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(picture[y : y + height, x : x + width]), format="rgb24"
            )
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    part.rename(path)


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
        self.duration = probe(self.path).duration

    def __len__(self) -> int:
        return self.clips

    def times(self, index: int) -> np.ndarray:
        """Times of clip ``index`` in s."""
        half = self.frames * self.stride / 60
        center = np.random.default_rng(index).uniform(half, self.duration - half)
        return clip_times(center, self.frames, self.stride, 30.0)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(read_frames(self.path, self.times(index), short_side=self.short_side))


def measure(
    path: Path, clips: int, frames: int, stride: int, short_side: int, workers: int
) -> dict[str, float]:
    """Milliseconds a clip of reading and of raw decoding, their ratio, clips/s of a loader, memory in MB."""
    dataset = _RandomClips(path, clips, frames, stride, short_side)
    container = av.open(str(path))
    container.streams.video[0].thread_type = "AUTO"
    dataset[0], decode_span(container, 0.0, 1.0)
    read, raw, grown, first = 0.0, 0.0, [], _resident_mb()
    for index in range(clips):
        times, before = dataset.times(index), _resident_mb()
        # In turns, so that other load on the machine hits both alike.
        begin = time.perf_counter()
        dataset[index]
        middle = time.perf_counter()
        # Growth that the raw decoding causes is not the reader's.
        grown.append(_resident_mb() - before)
        decode_span(container, times[0], times[-1])
        raw += time.perf_counter() - middle
        read += middle - begin
    loader = DataLoader(dataset, num_workers=workers, batch_size=None)
    begin = time.perf_counter()
    for _ in loader:
        pass
    loaded = time.perf_counter() - begin
    return {
        "ms_per_clip": round(1e3 * read / clips, 1),
        "ms_raw_decode": round(1e3 * raw / clips, 1),
        "ratio": round(read / raw, 3),
        "loader_clips_per_s": round(clips / loaded, 2),
        "memory_mb_at_start": round(first, 1),
        "memory_mb_grown_first_tenth": round(sum(grown[: clips // 10]), 1),
        "memory_mb_grown_after": round(sum(grown[clips // 10 :]), 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def main(argv: list[str] | None = None) -> None:
    """Entry point of ``tools/benchmark.py --task data``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--video", type=Path, default=Path("output/benchmark/film.mp4"), help="made if absent"
    )
    parser.add_argument("--seconds", type=float, default=900.0, help="length of the film that is made")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--stride", type=int, default=2)
    parser.add_argument("--short-side", type=int, default=256)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    if not args.video.exists():
        args.video.parent.mkdir(parents=True, exist_ok=True)
        write_film(args.video, args.seconds)
    figures = measure(args.video, args.clips, args.frames, args.stride, args.short_side, args.workers)
    print(json.dumps(figures, indent=2))
