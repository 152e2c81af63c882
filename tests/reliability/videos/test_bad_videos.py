"""Every broken video gives a clip or one line that names it; the policy and its limit; dying loader processes."""

from __future__ import annotations

import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from numbered_video import write_numbered_video
from reliability.videos.bad_videos import corpus, remove, replace_by_folder
from torch.utils.data import DataLoader

from mestad_d2.data.sampling import DrawBatches, Draws
from mestad_d2.data.worker import start_worker
from mestad_d2.errors import UserError
from mestad_d2.video import frames as video
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source

CENTRES = (0.0, 0.3, 1.0, 1.9, 60.0)


def test_a_clip_or_an_error_with_the_file(tmp_path: Path) -> None:
    kinds = set()
    for kind, path, outcome in corpus(tmp_path):
        kinds.add(kind)
        for center in CENTRES:
            try:
                info = open_source(str(path))
                frames = read_frames(str(path), [center - 0.1, center, center + 0.1])
            except UserError as error:
                assert outcome is not True, f"{kind}: {error}"
                assert str(path) in str(error) and "\n" not in str(error), kind
            else:
                assert outcome is not False, kind
                assert frames.shape == (3, info.height, info.width, 3), kind
    assert len(kinds) == 16


@pytest.mark.parametrize("spoil", [remove, replace_by_folder, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("opened", [False, True])
def test_spoilt_in_mid_run(tmp_path: Path, spoil: object, opened: bool) -> None:
    path = tmp_path / "v.mp4"
    write_numbered_video(path, 50, Fraction(25), codec="libx264", g="10")
    # Described when the dataset was loaded.
    source = open_source(path)
    read_frames(source, [0.2, 0.4])
    if not opened:
        video._OPEN.drop(source)
    spoil(path)
    try:
        assert len(read_frames(source, [1.0, 1.2])) == 2 and opened
    except UserError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def _maps(item: dict, rng: np.random.Generator) -> dict:
    if item["name"].startswith("bad"):
        raise UserError(f"{item['name']}: can't be read at 1.00 s")
    if item["name"] == "killer":
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def _loader(names: list[str], workers: int, **policy: object) -> DataLoader:
    draws = Draws([(_maps, [{"name": name} for name in names])], 0, **policy)
    return DataLoader(draws, batch_sampler=DrawBatches(2), num_workers=workers, collate_fn=list,
                      worker_init_fn=start_worker)  # fmt: skip


@pytest.mark.parametrize("workers", [0, 2])
def test_skip_holds_its_limit_over_all_loader_processes(workers: int) -> None:
    names = [f"good{i}" for i in range(16)]
    few = iter(_loader([*names, "bad0", "bad1"], workers, on_error="skip", max_skipped=0.2))
    seen = [item["name"] for _ in range(18) for item in next(few)]
    assert set(seen) == set(names)
    # Two loader processes meet about half each; together they are over the limit.
    many = iter(_loader([*names, *(f"bad{i}" for i in range(6))], workers, on_error="skip", max_skipped=0.2))
    with pytest.raises(UserError, match="5 of 22 clips.*MAX_SKIPPED"):
        for _ in range(40):
            next(many)
    strict = iter(_loader([*names, "bad0"], workers, on_error="raise", max_skipped=1.0))
    with pytest.raises(UserError, match="bad0: can't be read at 1.00 s"):
        for _ in range(20):
            next(strict)


def test_a_dying_loader_process_ends_the_run() -> None:
    batches = iter(_loader(["good", "good", "good", "killer"], 2, on_error="skip", max_skipped=1.0))
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="killed by signal: Killed|exited unexpectedly"):
        for _ in range(20):
            next(batches)
    assert time.monotonic() - began < 30


def test_loader_processes_start_after_opencv_has_used_threads() -> None:
    """A fork copied OpenCV's locks but not its threads, and setting their number in the child hung."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(4)
    cv2.warpAffine(np.zeros((2000, 2000, 3), np.uint8), np.eye(2, 3), (2000, 2000))
    loader = DataLoader([1, 2], num_workers=2, worker_init_fn=start_worker, timeout=60)
    assert [int(item) for item in loader] == [1, 2] and cv2.getNumThreads() == 4
    cv2.setNumThreads(before)
