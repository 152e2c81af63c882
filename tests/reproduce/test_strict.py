"""The strict form of Table 5: its schedule, data, order, oracles, figures, and that runs are kept one by one."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.solver import build_lr_scheduler
from scipy.stats import ttest_rel
from tiny import SMALLER

from mestad_d2.errors import UserError
from mestad_d2.reproduce.strict import schedule
from mestad_d2.reproduce.strict.data import (
    CONDITIONS,
    entries,
    pick_test_frames,
    prepare,
    spoil_labels,
    thin_labels,
)
from mestad_d2.reproduce.strict.report import main_table, restart_table, write_report
from mestad_d2.reproduce.strict.rows import ALL, ROWS, Task, chosen_tasks, order
from mestad_d2.reproduce.strict.schedule import read_results, run_tasks
from mestad_d2.reproduce.strict.statistics import half_interval, paired
from mestad_d2.reproduce.strict.training import Plan, burn_in_file, run_cfg, run_task, task_key


def test_differences_are_those_of_a_paired_t_test() -> None:
    rng = np.random.default_rng(0)
    own, other = rng.normal(1, 1, 8), rng.normal(0, 1, 8)
    found = paired(dict(enumerate(own)), {**dict(enumerate(other)), 99: 5.0})
    low, high = ttest_rel(own, other).confidence_interval(0.95)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert found.seeds == 8 and paired({1: 2.0}, {2: 1.0}) is None
    assert math.isnan(half_interval([1.0])) and "one seed" in str(paired({1: 2.0}, {1: 1.0}))


def test_order_finishes_a_seed_of_the_main_rows_before_the_next() -> None:
    tasks = list(order(("dense", "track"), ALL, ["toy_x2", "ucf_2s"]))
    assert len(tasks) == len(set(tasks))
    main = [task for task in tasks if task.condition == "toy"][: 7 * ALL]
    assert [task.seed for task in main] == sorted(task.seed for task in main)
    assert {task.row for task in main if task.seed == 1} == {task.row for task in main if task.seed == ALL}
    assert {task.condition for task in tasks} == {"toy", "toy_x2", "ucf_2s"}
    assert {t.row for t in tasks if t.seed <= 4 and t.condition == "toy"} >= {"none_restart", "oracle_boxes"}


def test_chosen_groups_run_in_their_order_and_each_task_once() -> None:
    tasks = list(chosen_tasks(["toy_2s,toy_4s:none_x2,tla:1-2", "toy_4s:tla,dense:2"], CONDITIONS))
    assert [(task.condition, task.seed, task.row) for task in tasks] == [
        *((c, s, r) for s in (1, 2) for c in ("toy_2s", "toy_4s") for r in ("none_x2", "tla")),
        ("toy_4s", 2, "dense"),
    ]
    for group, message in (("toy:tla", "is not CONDITIONS"), ("toy:tla:a", "is not"), ("toi:tla:1", "condition toi"),
                           ("toy:tlb:1", "row tlb")):  # fmt: skip
        with pytest.raises(UserError, match=message):
            list(chosen_tasks([group], CONDITIONS))


def test_real_test_frames_are_none_of_those_labelled_in_training(tmp_path: Path) -> None:
    source, target = tmp_path / "dense.csv", tmp_path / "test.csv"
    source.write_text("".join(f"v,{frame / 25:.2f},0,0,1,1,1,0\n" for frame in range(60)))
    pick_test_frames(source, target)
    frames = [round(float(line.split(",")[1]) * 25) for line in target.read_text().splitlines()]
    assert frames == [5, 10, 15, 20, 30, 35, 40, 45, 55]


def test_gaps_and_faults_change_training_labels_alone(tmp_path: Path) -> None:
    plain = entries(CONDITIONS["toy_1s"], tmp_path, None)
    for name in ("toy_2s", "toy_4s", "toy_noise"):
        own = entries(CONDITIONS[name], tmp_path, None)
        assert own["train"]["ANNOTATIONS"] != plain["train"]["ANNOTATIONS"]
        assert own["train"]["VIDEOS"] == plain["train"]["VIDEOS"]
        assert {**own["test"], "NAME": ""} == {**plain["test"], "NAME": ""}
    plan = Plan(tmp_path, tmp_path / "runs", None, 2, 2)
    assert run_cfg(plan, Task("toy_4s", 1, "tla")).SEMISUP.MAX_GAP == 6.0


def rates(plan: Plan, task: Task) -> list[float]:
    """Learning rates of a run's iterations."""
    cfg = run_cfg(plan, task)
    start = 0 if task.row is None else cfg.SEMISUP.BURN_IN_ITERS
    stop = plan.burn_in if task.row is None else cfg.SOLVER.MAX_ITER
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=cfg.SOLVER.BASE_LR)
    scheduler = build_lr_scheduler(cfg, optimizer)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler.last_epoch = start - 1
        for _ in range(start, stop):
            scheduler.step()
            found.append(optimizer.param_groups[0]["lr"])
    return found


def test_rows_of_any_length_go_on_with_one_cosine_and_restarts_begin_at_the_top(tmp_path: Path) -> None:
    plan = Plan(tmp_path, tmp_path / "runs", None, burn_in=300, iterations=200)
    before, none = rates(plan, Task("toy", 1)), rates(plan, Task("toy", 1, "none"))
    assert len(before) == 300 and len(none) == 200
    # One cosine over both phases, as a single run of 500 iterations has it.
    step = 0.003 * 0.5 * (math.cos(math.pi * 299 / 500) - math.cos(math.pi * 300 / 500))
    assert before[-1] - none[0] == pytest.approx(step, rel=1e-6)
    long = rates(plan, Task("toy", 1, "none_passes"))
    assert len(long) == 600 and long[0] == pytest.approx(none[0]) and long[-1] < none[-1] < 1e-7
    assert long[300] == pytest.approx(none[100])
    top = rates(plan, Task("toy", 1, "tla_restart"))
    assert len(top) == 200 and max(top) == pytest.approx(0.003, rel=0.05) and top[-1] < 1e-6
    double = run_cfg(plan, Task("toy", 1, "none_x2"))
    assert double.SOLVER.IMS_PER_BATCH == 16 and double.SEMISUP.UNLABELED_RATIO * 16 == 8


def test_thinned_and_spoiled_labels(tmp_path: Path) -> None:
    source, target = tmp_path / "a.csv", tmp_path / "b.csv"
    lines = [f"v{v},{s:04d},0.1,0.1,0.5,0.6,{a},0" for v in (0, 1) for s in range(3, 13) for a in (1, 2)]
    source.write_text("\n".join(lines) + "\n")
    thin_labels(source, target, 4)
    kept = [line.split(",")[:2] for line in target.read_text().splitlines()]
    assert {tuple(row) for row in kept} == {(f"v{v}", f"{s:04d}") for v in (0, 1) for s in (3, 7, 11)}
    many = [f"v,{s:05d},0.1,0.1,0.5,0.6,{a},0" for s in range(2000) for a in (1, 2)]
    source.write_text("\n".join(many) + "\n")
    spoil_labels(source, target)
    rows = [line.split(",") for line in target.read_text().splitlines()]
    assert len({row[1] for row in rows}) / 2000 == pytest.approx(0.96 * (1 - 0.05**2), abs=0.02)
    assert len(rows) / 4000 == pytest.approx(0.96 * 0.95, abs=0.02)
    assert np.std([float(row[2]) for row in rows]) == pytest.approx(0.04 * 0.4, rel=0.1)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A toy of a few seconds and a network of a few thousand parameters."""
    root = tmp_path_factory.mktemp("strict")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mestad_d2.reproduce.strict.data.make_toy", _short_toy)
        prepare([CONDITIONS["toy"]], root / "data", None, (1, 1), 1)
    opts = (*SMALLER, "SEMISUP.TEACHER_SCORE_THRESH", "0.05", "MODEL.FCOS.PRIOR_PROB", "0.3",
            "SEMISUP.LOOKS", "1")  # fmt: skip
    return Plan(root / "data", root / "runs", None, burn_in=2, iterations=2, opts=opts)


def _short_toy(*args: object, **kwargs: object) -> None:
    from mestad_d2.data.toy.dataset import make_toy

    make_toy(*args, seconds=3, **kwargs)


def test_every_row_goes_on_from_the_burnt_in_checkpoint(plan: Plan) -> None:
    assert run_task(plan, Task("toy", 1))["iterations"] == 2
    first: dict = {}
    saved = torch.load(burn_in_file(plan, Task("toy", 1)), weights_only=True)["model"]
    for key in (
        "none",
        "none_passes",
        "dense",
        "round2",
        "track",
        "nearest",
        "oracle_boxes",
        "oracle_both",
        "oracle_labels",
    ):
        result = run_task(plan, Task("toy", 1, key))
        row = ROWS[key]
        assert result["iterations"] == 2 * row.length
        unlabeled = 0 if row.labeler == "EMA" else 2
        assert result["student_clips"] == result["iterations"] * (2 * row.batch + unlabeled)
        teacher = {
            "dense": 2 * 2 + 2,
            "round2": 2 * 2 + 2,
            "track": 2 * 2 + 3,
            "oracle_boxes": 4,
            "oracle_labels": 4,
        }.get(key, 0)
        assert result["teacher_clips"] == teacher
        assert {"teacher_dev_map", "teacher_test_map", "student_test_map"} <= result.keys()
        if key == "round2":
            # It labels as the first round's teacher, whatever its own student learns.
            assert result["teacher_test_map"] == pytest.approx(first["teacher_test_map"])
        first = result
        if key == "oracle_both":
            assert result["pseudo/exact"] == result["pseudo/on_people"] == 1
    assert all(bool(torch.isfinite(value).all()) for value in saved.values() if value.is_floating_point())


class _Pool:
    """A pool that runs a task when it is asked to."""

    _processes: dict = {}

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, function: object, *arguments: object) -> object:
        from concurrent.futures import Future

        future: Future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # as a pool hands it on
            future.set_exception(error)
        return future

    def shutdown(self, **_: object) -> None:
        pass


def test_runs_are_kept_one_by_one_resumed_and_ended_by_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Plan(tmp_path, tmp_path, None, burn_in=600, iterations=400)
    begun: list[Task] = []

    def fake(plan: Plan, task: Task) -> dict:
        begun.append(task)
        if task.seed == 2 and task.row is None:
            raise RuntimeError("out of memory")
        if task.row is None:
            burn_in_file(plan, task).write_text("")
        figure = 50 + task.seed + (2.0 if task.row == "tla" else 0)
        return {"key": task_key(plan, task), "condition": task.condition, "seed": task.seed, "row": task.row,
                "seconds": 10.0, "train_seconds": 9.0, "teacher_test_map": figure,
                "student_test_map": figure}  # fmt: skip

    monkeypatch.setattr(schedule, "ProcessPoolExecutor", _Pool)
    monkeypatch.setattr(schedule, "run_task", fake)
    tasks = [Task("toy", seed, row) for seed in (1, 2, 3) for row in ("none", "tla")]
    results = tmp_path / "strict.jsonl"
    failures = run_tasks(plan, tasks, results, 2, None)
    assert len(failures) == 1 and "seed 2" in failures[0] and "out of memory" in failures[0]
    assert [(r["seed"], r["row"]) for r in read_results(results) if r["row"]] == [
        (1, "none"), (1, "tla"), (3, "none"), (3, "tla")]  # fmt: skip
    # A line that was cut off counts for nothing, and only what is missing is run again.
    results.write_text(results.read_text() + '{"key": "')
    begun.clear()
    run_tasks(plan, tasks, results, 2, None)
    assert begun == [Task("toy", 2)]
    # Where the burnt-in weights are lost, a new row has nothing to be compared with: its seed begins again.
    burn_in_file(plan, Task("toy", 1)).unlink()
    begun.clear()
    run_tasks(plan, [*tasks[:2], Task("toy", 1, "dense")], results, 2, None)
    assert begun == [Task("toy", 1, row) for row in (None, "none", "tla", "dense")]
    assert len(read_results(results)) == 2 * 3 + 1
    # Runs are known to take some 10 s each; in 5 s none but the first of all is begun.
    begun.clear()
    run_tasks(plan, [Task("toy", 5, "none"), Task("toy", 5, "tla")], tmp_path / "b.jsonl", 1, 5.0)
    assert begun == [Task("toy", 5)]
    (tmp_path / "strict.json").write_text(
        json.dumps(
            {"best": ["dense", "track"], "device": "cpu", "jobs": 2, "burn_in": 600, "iterations": 400}
        )
    )
    assert "| TLA (Algorithm 1) | 54.00 ± 12.71 | +2.00 [+2.00, +2.00] |" in write_report(tmp_path)


def test_rows_are_paired_only_from_the_same_checkpoint(tmp_path: Path) -> None:
    lines = []
    for seed in (1, 2, 3):
        for row, gain in (("none_x2", 0.0), ("tla", 1.0 + 0.1 * seed)):
            lines.append({
                "key": f"{seed}{row}", "condition": "toy_4s", "seed": seed, "row": row, "seconds": 1.0,
                "checkpoint": f"{seed}{row if seed == 3 else ''}", "teacher_test_map": 40 + gain, "student_test_map": 40.0,
            })  # fmt: skip
    (tmp_path / "strict.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    conditions = {"toy_4s": {"real": False, "unchanged_after_half": 0.16}}
    facts = {"best": ["dense", "track"], "device": "cpu", "jobs": 2, "burn_in": 6, "iterations": 4,
             "conditions": conditions}  # fmt: skip
    (tmp_path / "strict.json").write_text(json.dumps(facts))
    expected = paired({1: 1.1, 2: 1.2}, {1: 0.0, 2: 0.0})
    assert f"| labels every 4 s | 0.16 | 40.00 ± 0.00 | {expected} (2) | - |" in write_report(tmp_path)
    assert (tmp_path / "strict_curves.png").stat().st_size > 5000


def test_restarted_rows_are_compared_with_the_same_rows_on_one_cosine() -> None:
    results = []
    # By seed and row; the last seed's two schedules began from different weights.
    for seed, row, checkpoint, figure in (
        (1, "tla", "a", 40.0), (1, "tla_restart", "a", 43.0), (2, "tla", "b", 41.0), (2, "tla_restart", "b", 45.0),
        (3, "tla", "c", 90.0), (3, "tla_restart", "d", 10.0), (1, "none_restart", "a", 50.0),
    ):  # fmt: skip
        results.append({"condition": "toy", "seed": seed, "row": row, "checkpoint": checkpoint,
                        "teacher_test_map": figure, "student_test_map": 0.0})  # fmt: skip
    expected = f"| TLA | {40.5:.2f} ± {6.35:.2f} | {44.0:.2f} ± {12.71:.2f} | {paired({1: 43, 2: 45}, {1: 40, 2: 41})} | 2 |"
    assert restart_table(results, "toy").splitlines()[2:] == [expected]
    assert restart_table(results[::2], "toy") == "" == restart_table(results, "toy_2s")


def test_on_a_cpu_the_table_has_the_time_of_the_process() -> None:
    result = {"condition": "toy", "seed": 1, "row": "tla", "checkpoint": "a", "teacher_test_map": 40.0,
              "train_seconds": 200.2, "train_cpu_seconds": 120.4, "device": "cpu"}  # fmt: skip
    assert "| 200 (120 of CPU) |" in main_table([result])
    assert "| 200 |" in main_table([result | {"device": "NVIDIA H200"}])
