"""Lists of videos: everything is done exactly once, whoever dies."""

from __future__ import annotations

import csv
import importlib
import json
import os
import signal
import sys
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path

import fake_workers
import pytest
import torch
from fake_workers import FakeSetup
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered_video import write_numbered_video
from tiny import CONFIG, EAGER, ROOT, SMALLER, tiny_cfg

from mestad_d2.errors import UserError
from mestad_d2.inference.batch.jobs import (
    MAX_LOSSES_IN_A_ROW,
    Finished,
    check_settings,
    read_list,
    result_name,
    run_jobs,
    unfinished,
    write_failures,
)
from mestad_d2.inference.batch.local_workers import LocalWorkers


class InstantPool:
    """Two workers that end at once; ``lose`` says how often a video's worker dies."""

    def __init__(self, lose: dict[str, int]) -> None:
        self.lose, self.tries, self.given = dict(lose), Counter(), []

    def free(self) -> int:
        return 2 - len(self.given)

    def submit(self, video: str) -> None:
        assert self.free()
        self.tries[video] += 1
        self.given.append(video)

    def wait(self) -> list[Finished]:
        video = self.given.pop(0)
        lost = self.tries[video] <= self.lose.get(video, 0)
        return [Finished(video, None if lost else b"", "its worker died" if lost else None, lost)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), max_size=12))
def test_every_video_ends_once_whatever_dies(losses: list[int]) -> None:
    lose = {str(i): n for i, n in enumerate(losses)}
    pool = InstantPool(lose)
    ended = list(run_jobs(list(lose), pool))
    assert sorted(done.video for done in ended) == sorted(lose)
    for done in ended:
        assert (done.error is None) == (lose[done.video] < 2)
        assert pool.tries[done.video] == min(lose[done.video], 1) + 1


def test_workers_that_all_die_end_the_run() -> None:
    with pytest.raises(UserError, match="died one after the other"):
        list(run_jobs([str(i) for i in range(50)], InstantPool({str(i): 9 for i in range(50)})))
    assert MAX_LOSSES_IN_A_ROW < 50


def test_local_workers_lose_nothing(tmp_path: Path) -> None:
    videos = ["a", "die-once", "b", "bad", "die-always", "c", "d"]
    pool = LocalWorkers(FakeSetup(tmp_path), 2, start_method="fork")
    try:
        ended = {done.video: done for done in run_jobs(videos, pool)}
    finally:
        pool.close()
    assert list(ended) != [] and sorted(ended) == sorted(videos)
    for video in ("a", "b", "c", "d", "die-once"):
        assert ended[video].content == f"{video}\n".encode()
    assert ended["bad"].error == "ValueError: bad video"
    assert "died (exit code -9)" in ended["die-always"].error
    runs = Counter(path.stem for path in tmp_path.iterdir())
    assert runs == {"a": 1, "b": 1, "c": 1, "d": 1, "bad": 1, "die-once": 2, "die-always": 2}


def test_worker_killed_from_outside_while_idle_or_at_work(tmp_path: Path) -> None:
    pool = LocalWorkers(FakeSetup(tmp_path), 1, start_method="fork")
    try:
        first = list(run_jobs(["a"], pool))
        (pid,) = pool.pids()
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
        assert [done.content for done in first + list(run_jobs(["b"], pool))] == [b"a\n", b"b\n"]
    finally:
        pool.close()


def test_time_limit_ends_one_video_only(tmp_path: Path) -> None:
    pool = LocalWorkers(FakeSetup(tmp_path), 1, time_limit=1.0, start_method="fork")
    try:
        ended = {done.video: done for done in run_jobs(["slow", "a"], pool)}
    finally:
        pool.close()
    assert ended["slow"].error == "not done after 1 s" and ended["a"].content == b"a\n"


def test_setup_that_fails_is_one_line(tmp_path: Path) -> None:
    pool = LocalWorkers(FakeSetup(tmp_path, broken=True), 1, start_method="fork")
    try:
        with pytest.raises(UserError, match="^ValueError: no weights here$"):
            list(run_jobs(["a"], pool))
    finally:
        pool.close()


def test_ray_cluster_of_two_nodes_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    from ray.cluster_utils import Cluster

    from mestad_d2.inference.batch.ray_backend import RayWorkers, cluster_size, connect

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.cloudpickle.register_pickle_by_value(fake_workers)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        connect(cluster.address)
        assert len([node for node in ray.nodes() if node["Alive"]]) == 2 and cluster_size(1, 0) == 2
        videos = ["a", "die-once", "bad", "die-always", *(f"v{i}" for i in range(8))]
        # One more than fits: it must not be waited for.
        pool = RayWorkers(FakeSetup(tmp_path), 3, cpus=1)
        ended = {done.video: done for done in run_jobs(videos, pool)}
        pool.close()
    finally:
        ray.shutdown()
        cluster.shutdown()
        ray.cloudpickle.unregister_pickle_by_value(fake_workers)
    assert sorted(ended) == sorted(videos)
    assert [v for v in videos if ended[v].content is None] == ["bad", "die-always"]
    assert "died" in ended["die-always"].error and ended["bad"].error == "ValueError: bad video"
    runs = Counter(path.stem for path in tmp_path.iterdir())
    assert runs == {v: 2 if v.startswith("die") else 1 for v in videos}


def test_list_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\ufeffa.mp4\r\n\n# old\n x y.mp4 \nb/../a.mp4\n")
    assert read_list(path) == ["a.mp4", "x y.mp4"]
    # Names may hold what str.splitlines takes for line ends.
    odd = [f"a{sign}b.mp4" for sign in "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029\r"]
    path.write_bytes("\n".join(odd).encode())
    assert read_list(path) == odd
    for text, message in ((" \n#\n", "no video in this list"), ("a\ncamera:0", "row 2: camera:0")):
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_list(path)
    path.write_bytes(b"\x00\xff\xfe")
    for wrong in (path, tmp_path / "nothing.txt", tmp_path):
        with pytest.raises(UserError, match=str(wrong)):
            read_list(wrong)


def test_failures_hold_no_formula(tmp_path: Path) -> None:
    write_failures(
        tmp_path, [Finished('=cmd("x").mp4', error="@no"), Finished("-5KQ66BBWC4", error="no video")]
    )
    with open(tmp_path / "failures.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[1:] == [['\'=cmd("x").mp4', "'@no"], ["-5KQ66BBWC4", "no video"]]


def test_failures_hold_no_password(tmp_path: Path) -> None:
    camera = "rtsp://me:s3cr@t@10.0.0.7:554/live?user=me&password=s3cret&channel=1"
    write_failures(tmp_path, [Finished(camera, error=f"{camera}: no video comes")])
    text = (tmp_path / "failures.csv").read_text()
    assert "s3c" not in text and "@" not in text and text.count("rtsp://10.0.0.7:554/live?user=me") == 2


def test_results_of_one_name_do_not_collide(tmp_path: Path) -> None:
    videos = ["a/x.mp4", "b/x.mp4", "a/x.mkv", "a/" + "\u00e4" * 200 + ".mp4"]
    names = [result_name(video) for video in videos]
    assert len(set(names)) == 4 and names[0].startswith("x.") and max(len(n.encode()) for n in names) < 240
    (tmp_path / names[0]).write_bytes(b"done")
    assert unfinished(videos, tmp_path) == videos[1:]


def test_results_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    check_settings(tmp_path, {"a": 1, "b": 2})
    check_settings(tmp_path, {"a": 1, "b": 2})
    with pytest.raises(UserError, match="another b; use another --output"):
        check_settings(tmp_path, {"a": 1, "b": 3})


def test_tool_runs_reports_and_goes_on(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("detect_many")
    weights = tmp_path / "model.pth"
    from detectron2.modeling import build_model

    torch.save({"model": build_model(tiny_cfg()).state_dict()}, weights)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_numbered_video(tmp_path / folder / "x.mp4", 40, Fraction(20))
    videos = [str(tmp_path / name) for name in ("a/x.mp4", "no.mp4", "b/x.mp4")]
    (tmp_path / "list.txt").write_text("\n".join(videos))
    output = tmp_path / "out"
    output.mkdir()
    (output / "failures.csv").write_text("a.mp4\n")
    arguments = ["--config-file", str(CONFIG), "--list", str(tmp_path / "list.txt"), "--output", str(output)]
    arguments += [
        "--workers",
        "1",
        "--person-threshold",
        "0",
        "--opts",
        *SMALLER,
        *EAGER,
        "MODEL.WEIGHTS",
        str(weights),
    ]
    with pytest.raises(SystemExit, match="2"):
        tool.main(tool.parse([*arguments[:3], str(output / "failures.csv"), *arguments[4:]]))
    assert "would overwrite the input" in capfd.readouterr().err
    assert [path.name for path in output.iterdir()] == ["failures.csv"]
    assert tool.main(tool.parse(arguments)) == 1
    assert "1 failed" in capfd.readouterr().out
    with open(output / "failures.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["video", "error"] and rows[1][0] == videos[1] and "no such video file" in rows[1][1]
    lines = [json.loads(line) for line in (output / result_name(videos[0])).read_text().splitlines()]
    assert [line["timestamp"] for line in lines] == [0, 1]
    assert all(len(line["people"]) > 0 for line in lines)
    assert lines[0]["video"] == videos[0] and (lines[0]["height"], lines[0]["width"]) == (64, 160)

    # Again: what is done stays as it is, what failed is tried anew.
    before = (output / result_name(videos[0])).stat().st_mtime_ns
    write_numbered_video(Path(videos[1]), 10, Fraction(20))
    assert tool.main(tool.parse(arguments)) == 0
    assert "1 video done, 2 were done before, 0 failed" in capfd.readouterr().out
    assert (output / result_name(videos[0])).stat().st_mtime_ns == before
    assert not (output / "failures.csv").exists() and unfinished(videos, output) == []
    assert not list(output.glob(".*")) and "detect_many" in sys.modules
