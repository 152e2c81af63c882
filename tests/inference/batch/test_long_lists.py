"""Long lists: workers that stall or lose their parent end, weights are known by content, costs are flat."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from loading import load_script
from numbered_video import write_index_first, write_numbered_video
from tiny import CONFIG, ROOT, SMALLER, tiny_cfg

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.batch.jobs import check_settings, result_name, run_jobs, unfinished
from mestad_d2.inference.batch.local_workers import LocalWorkers, alive
from mestad_d2.inference.batch.worker_setup import WorkerSetup
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.video.decode.missing_end import LastSeen, missing_end
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames


def worker_setup(weights: Path) -> WorkerSetup:
    """A setup with weights at this path."""
    cfg = tiny_cfg("MODEL.WEIGHTS", weights)
    return WorkerSetup(cfg, ActionNames(), SpeedMode(), 1.0, 0.05, 0.3, 1)


def test_results_are_of_weights_not_of_a_path(tmp_path: Path) -> None:
    first, second = tmp_path / "a.pth", tmp_path / "b.pth"
    torch.save({"model": {"a": torch.zeros(3)}}, first)
    second.write_bytes(first.read_bytes())
    check_settings(tmp_path / "out", worker_setup(first).settings())
    check_settings(tmp_path / "out", worker_setup(second).settings())
    torch.save({"model": {"a": torch.ones(3)}}, first)
    with pytest.raises(UserError, match="were made with another weights; use another --output"):
        check_settings(tmp_path / "out", worker_setup(first).settings())
    with pytest.raises(UserError, match=r"MODEL\.WEIGHTS: .*none\.pth can't be read"):
        worker_setup(tmp_path / "none.pth").settings()


def stalling(number: int):
    """ "stuck" says nothing more after a while, "slow" takes longer and says so."""

    def detect(video: str) -> bytes:
        for _ in range(3):
            time.sleep(1.1)
            alive()
        time.sleep(60 if video == "stuck" else 0)
        return video.encode()

    return detect


def test_a_video_that_makes_no_progress_is_ended_and_a_slow_one_is_not() -> None:
    pool = LocalWorkers(stalling, 2, start_method="fork", stall_limit=2.5)
    try:
        ended = {done.video: done for done in run_jobs(["stuck", "slow"], pool)}
    finally:
        pool.close()
    assert ended["slow"].content == b"slow"
    assert ended["stuck"].error == "no key frame for 2.5 s"


PARENT = """
import sys, time
from mestad_d2.inference.batch.local_workers import LocalWorkers

def busy(number):
    def detect(video):
        time.sleep(600)
    return detect

pool = LocalWorkers(busy, 2, start_method="fork")
while pool.free() < 2:
    pool.wait()
pool.submit("a"); pool.submit("b")
print(*pool.pids(), flush=True)
time.sleep(600)
"""


def gone(pid: int) -> bool:
    """Whether a process has ended (it may still be listed until somebody asks for its end)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_workers_end_with_a_killed_parent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and not any(map(gone, pids))
    finally:
        parent.kill()
        parent.wait()
    end = time.monotonic() + 20
    while not all(map(gone, pids)):
        assert time.monotonic() < end, "workers outlive their parent"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_leaves_no_worker(tmp_path: Path, number: int, code: int) -> None:
    from detectron2.modeling import build_model

    torch.save({"model": build_model(tiny_cfg()).state_dict()}, tmp_path / "w.pth")
    write_numbered_video(tmp_path / "v.mp4", 20, Fraction(10))
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'v.mp4'}\n")
    # The worker of a real run is still importing when the signal comes.
    command = [
        sys.executable, "-W", "ignore", "tools/detect_many.py", "--config-file", CONFIG, "--workers", 1,
        "--list", tmp_path / "list.txt", "--output", tmp_path / "out", "--opts", *SMALLER, "MODEL.WEIGHTS",
        tmp_path / "w.pth",
    ]  # fmt: skip
    process = subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        end = time.monotonic() + 120
        while not (workers := [int(pid) for pid in children.read_text().split()]):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == code and "the same command goes on" in said and "Traceback" not in said
    # Python's own tracker of shared memory, a child too, ends a moment later than its parent.
    end = time.monotonic() + 20
    while not all(map(gone, workers)):
        assert time.monotonic() < end, "a worker outlives the run"
        time.sleep(0.05)


class Counting:
    """A pool in this process, done at once."""

    def __init__(self) -> None:
        self.videos: list[str] = []

    def free(self) -> int:
        return 4 - len(self.videos)

    def submit(self, video: str) -> None:
        self.videos.append(video)

    def wait(self) -> list:
        from mestad_d2.inference.batch.jobs import Finished

        done, self.videos = [Finished(video, content=b"{}\n") for video in self.videos], []
        return done


def test_ten_thousand_inputs_cost_as_much_each_as_a_thousand(tmp_path: Path) -> None:
    def seconds(count: int) -> float:
        output = tmp_path / str(count)
        output.mkdir()
        videos = [f"folder/{number}.mp4" for number in range(count)]
        start = time.process_time()
        for done in run_jobs(unfinished(videos, output), Counting()):
            (output / result_name(done.video)).write_bytes(done.content)
        assert unfinished(videos, output) == []
        return time.process_time() - start

    seconds(100)
    few = min(seconds(1000), seconds(1001))
    opened = len(os.listdir("/proc/self/fd"))
    many = seconds(10_000)
    assert len(os.listdir("/proc/self/fd")) == opened
    assert many / few < 25


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_half_downloaded_video_is_told(tmp_path: Path, share: float) -> None:
    whole, part = tmp_path / "whole.mp4", tmp_path / "part.mp4"
    write_numbered_video(tmp_path / "v.mp4", 150, Fraction(25))
    write_index_first(tmp_path / "v.mp4", whole)
    content = whole.read_bytes()
    part.write_bytes(content[: int(len(content) * share)])
    for path, complete in ((whole, True), (part, False)):
        frames = LastSeen(iterate_frames(path))
        count = sum(1 for _ in frames)
        missing = missing_end(open_source(path), frames.time)
        assert (missing == 0) == complete
        assert missing == pytest.approx(0 if complete else 6.0 - count / 25, abs=0.5)


def test_a_signal_while_the_progress_bar_is_made_stops_the_run_after_it() -> None:
    tool = load_script("tools/detect_many.py")
    made = []
    with pytest.raises(tool.Stopped) as stopped, tool.stoppable(), tool.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        made.append("bar")
    assert made == ["bar"] and stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) not in (None, tool._stop)
