"""Every row of every table builds, trains and evaluates; runs are kept, resumed and summed up."""

from __future__ import annotations

import json
import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import ROOT, SMALLER

from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.engine import build_trainer
from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.reproduce import execution
from mestad_d2.reproduce.document import document, renew
from mestad_d2.reproduce.execution import execute
from mestad_d2.reproduce.report import mean_and_error, summarise, write
from mestad_d2.reproduce.runs import Run, plan, simulate_boxes
from mestad_d2.reproduce.tables import DATASETS, TABLES, row_config

PAPER = {1: 8, 2: 6, 3: 6, 4: 6, 5: 5, 6: 3, 7: 2, 8: 3}
ROWS = [(table, row) for table in TABLES.values() for row in table.rows]
NAMES = [f"{table.number}-{row.config}" for table, row in ROWS]
TINY = [
    *SMALLER, "SOLVER.MAX_ITER", "2", "SEMISUP.BURN_IN_ITERS", "1", "SEMISUP.TEACHER_SCORE_THRESH", "0.05",
    "MODEL.FCOS.PRIOR_PROB", "0.3", "MODEL.ROI_ACTION_HEAD.ACRN_DIM", "8",
]  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy dataset of a few seconds."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=2, val_videos=1, seconds=4)
    return root


@pytest.fixture(autouse=True)
def trained(toy: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs train in this process; the list fills with their folders."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    folders: list[str] = []

    def run(command: list[str], **_: object) -> SimpleNamespace:
        cfg = setup_cfg(command[command.index("--config-file") + 1], command[command.index("--resume") + 1 :])
        folders.append(cfg.OUTPUT_DIR)
        trainer = build_trainer(cfg)
        trainer.resume_or_load(resume=True, accept_changes="--accept-changes" in command)
        trainer.train()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(execution.subprocess, "run", run)
    return folders


def runs_of(number: int, folder: Path, *opts: str, seeds: int = 1) -> list[Run]:
    """The runs of a table on the toy data."""
    found = plan(TABLES[number], "toy", seeds, folder, [*TINY, *opts])
    simulate_boxes(found)
    return found


def test_every_row_of_the_paper_is_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {number: sum(row.paper_map is not None for row in t.rows) for number, t in TABLES.items()} == PAPER
    monkeypatch.setattr("sys.argv", ["reproduce.py", "--list"])
    runpy.run_path(str(ROOT / "tools" / "reproduce.py"), run_name="__main__")
    listed = capsys.readouterr().out
    for _, row in ROWS:
        config = f"configs/ablations/{row.config}.yaml"
        assert row.name in listed and config in listed and (ROOT / config).is_file()


@pytest.mark.parametrize(("table", "row"), ROWS, ids=NAMES)
def test_the_configs_comment_has_the_figure(table, row) -> None:
    if row.paper_map is not None:
        comment = (ROOT / "configs" / "ablations" / f"{row.config}.yaml").read_text().splitlines()[0]
        assert re.search(r"([\d.]+) mAP", comment).group(1) == f"{row.paper_map:.1f}"


@pytest.mark.parametrize("dataset", DATASETS)
def test_rows_differ_from_one_another_on_every_dataset(dataset: str, tmp_path: Path) -> None:
    for table in TABLES.values():
        keys = [run.key for run in plan(table, dataset, 1, tmp_path / str(table.number))]
        assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("number", sorted(TABLES))
def test_rows_train_and_evaluate(number: int, tmp_path: Path) -> None:
    for run in runs_of(number, tmp_path):
        result = execute(run)
        assert result["iterations"] == 2 and 0 <= result["frame_map"] <= 100, run.row.name


@pytest.mark.slow
@pytest.mark.parametrize("number", sorted(TABLES))
def test_rows_train_20_iterations(number: int, tmp_path: Path) -> None:
    for run in runs_of(number, tmp_path, "SOLVER.MAX_ITER", "20", "SEMISUP.BURN_IN_ITERS", "10"):
        assert execute(run)["iterations"] == 20


def test_a_burn_in_is_shared_and_finished_runs_are_kept(tmp_path: Path, trained: list[str]) -> None:
    opts = ("SOLVER.MAX_ITER", "4", "SEMISUP.BURN_IN_ITERS", "2", "SOLVER.CHECKPOINT_PERIOD", "2")
    chosen = [run for run in runs_of(5, tmp_path, *opts) if run.row.name in ("None", "TLA")]
    for run in chosen:
        execute(run)
    none, tla = chosen
    assert tla.burn_in == none and tla.folder.joinpath("model_0000001.pth").is_file()
    first = [json.loads(line)["iteration"] for line in (tla.folder / "metrics.json").read_text().splitlines()]
    # The second row never saw the iterations before the end of the burn-in.
    assert min(first) >= 2
    result = execute(tla)
    assert "student_frame_map" in result and len(trained) == 2

    changed = [
        run
        for run in runs_of(5, tmp_path, *opts, "SEMISUP.LOSS_WEIGHT", "0.1")
        if run.row.name in ("None", "TLA")
    ]
    assert changed[1].result() is None and changed[1].key != tla.key
    # The other options' burn-in lies there.
    with pytest.raises(UserError, match=f"{none.folder}.*'None', seed 1.*--rows"):
        execute(changed[1])
    assert len([execute(run) for run in changed]) == 2 and len(trained) == 4


def test_a_twins_burn_in_is_taken_over_too(tmp_path: Path, trained: list[str]) -> None:
    opts = ("SOLVER.MAX_ITER", "4", "SEMISUP.BURN_IN_ITERS", "2")
    execute([run for run in runs_of(2, tmp_path, *opts) if run.row.name == "FCOS"][0])
    none, tla = [run for run in runs_of(5, tmp_path, *opts) if run.row.name in ("None", "TLA")]
    execute(none)
    assert len(trained) == 1
    assert "student_frame_map" in execute(tla) and len(trained) == 2


def test_a_row_that_only_tests_otherwise_takes_the_others_model(tmp_path: Path, trained: list[str]) -> None:
    chosen = [
        run for run in runs_of(3, tmp_path) if run.row.config in ("table3/gt_fcos", "table3/gt_proposal")
    ]
    fcos, proposal = chosen
    assert proposal.trained_by == fcos and proposal.waits and not fcos.waits
    results = [execute(run) for run in chosen]
    name = (fcos.folder / "last_checkpoint").read_text()
    weights = [torch.load(run.folder / name, weights_only=False)["model"] for run in chosen]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    # Nothing was trained again: no losses among the second run's figures.
    assert "total_loss" not in (proposal.folder / "metrics.json").read_text()
    assert results[0]["train_seconds"] == results[1]["train_seconds"]
    with pytest.raises(UserError, match="last_checkpoint"):
        execute([run for run in runs_of(3, tmp_path / "new") if run.row == proposal.row][0])


def test_the_same_run_of_another_table_is_not_repeated(tmp_path: Path, trained: list[str]) -> None:
    linear = [run for run in runs_of(7, tmp_path) if run.row.name == "linear"][0]
    other = [run for run in runs_of(8, tmp_path) if run.row.config == "table8/res3-4_p3-5"][0]
    first = execute(linear)
    assert linear.key == other.key and execute(other) == first == other.result() and len(trained) == 1
    assert (other.folder / (other.folder / "last_checkpoint").read_text()).is_file()
    changed = [
        run for run in runs_of(8, tmp_path, "SOLVER.BASE_LR", "0.1") if run.row.config == other.row.config
    ]
    execute(changed[0])
    assert len(trained) == 2


def test_a_key_is_of_the_config_alone(tmp_path: Path) -> None:
    one, two = (runs_of(8, tmp_path / name)[0] for name in "ab")
    assert one.key == two.key != runs_of(8, tmp_path / "a", "SOLVER.BASE_LR", "0.5")[0].key


def test_one_rows_failure_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "reproduce.py"))
    real = execution.subprocess.run

    def run(command: list[str], **options: object) -> SimpleNamespace:
        return SimpleNamespace(returncode=3) if "/acrn/" in " ".join(command) else real(command, **options)

    monkeypatch.setattr(execution.subprocess, "run", run)
    runs = [run for run in runs_of(7, tmp_path) if run.row.name in ("ACRN", "linear")]
    failures = tool["run_all"](runs, 1)
    assert len(failures) == 1 and "ACRN, seed 1" in failures[0] and "run.log" in failures[0]
    text = write(TABLES[7], "toy", runs, tmp_path, "the command")
    lines = {line["row"]: line for line in json.loads((tmp_path / "table7_toy.json").read_text())["rows"]}
    assert lines["linear"]["seeds"] == 1 and lines["ACRN"]["missing"] == 1 and "map" not in lines["ACRN"]
    assert "| ACRN | 27.0 | - |" in text and (tmp_path / "table7_toy.png").stat().st_size > 5000


def test_figures_over_seeds(tmp_path: Path) -> None:
    mean, error = mean_and_error([40.0, 42.0, 47.0])
    assert mean == 43 and error == pytest.approx(math.sqrt((9 + 1 + 16) / 2) / math.sqrt(3))
    assert math.isnan(mean_and_error([3.0])[1])
    every = runs_of(8, tmp_path, seeds=2)
    runs = [run for run in every if run.row.config.endswith("res3-4_p3-5")]
    others = [run for run in every if run.row.config.endswith("res3-5_p3-5")]
    for run, value in zip(runs + others, (10.0, 14.0, 13.0, 19.0), strict=True):
        result = {
            "key": run.key,
            "frame_map": value,
            "person_ap50": 50,
            "train_seconds": 1,
        }
        (run.folder / "result.json").write_text(json.dumps(result | {"iterations": 2}))
    for run, seconds in zip(runs, ("0:00:02.5", "0:01:00.500000"), strict=True):
        before = "[d2]: Total inference time: 0:09:00.1 (9 s / iter per device, on 1 devices)"
        (run.folder / "run.log").write_text(f"{before}\n{before.replace('0:09:00.1', seconds)}\n")
    line, other, missing = summarise(TABLES[8], every)
    assert line["test_seconds"] == (2.5 + 60.5) / 2 and other["test_seconds"] is None
    assert (line["map"], line["map_error"], line["seeds"]) == (12, 2, 2) and line["gflops"] > 0
    # The differences are 3 and 5.
    assert (other["map"], other["difference"], other["difference_error"]) == (16, 4, 1)
    assert "difference" not in line and (missing["seeds"], missing["missing"]) == (0, 2)
    assert "| 16.00 ± 3.00 | +4.00 ± 1.00 |" in write(TABLES[8], "toy", every, tmp_path, "the command")


def test_resolution_grows_by_the_same_factor_as_on_ava() -> None:
    sizes = {
        row.config: row_config(row, "toy").get("INPUT", {}).get("MIN_SIZE_TEST") for row in TABLES[6].rows
    }
    assert sizes == {"table3/proposal_proposal": None, "table6/256": None, "table6/320": 160}
    with pytest.raises(UserError, match=r"table9_none\.yaml"):
        row_config(TABLES[8].rows[0].__class__("x", "table9_none", 1.0), "toy")


def test_simulated_boxes_are_near_most_people(tmp_path: Path) -> None:
    run = runs_of(3, tmp_path)[0]
    found = read_person_boxes(run.config["DATASETS"]["PERSON_BOXES_TRAIN"][0])
    assert found and all(
        (people.scores >= 0.8).all() and (people.boxes[:, 2:] >= people.boxes[:, :2]).all()
        for people in found.values()
    )


def test_the_page_takes_new_figures_and_keeps_sentences(tmp_path: Path) -> None:
    line = {
        "row": "linear",
        "config": "table7/linear",
        "paper_map": 25.5,
        "seeds": 1,
        "missing": 0,
        "map": 40.0,
    }
    line |= {
        "map_error": None,
        "person_ap50": 90.0,
        "train_seconds": 5.0,
        "test_seconds": 3.25,
        "gflops": 0.2,
    }
    content = {"table": 7, "dataset": "toy", "command": "the command", "rows": [line]}
    results, page = tmp_path / "results", tmp_path / "page.md"
    results.mkdir()
    for value in (40.0, 41.5):
        line["map"] = value
        (results / "table7_toy.json").write_text(json.dumps(content))
        document(results, page)
        if value == 40:
            page.write_text(page.read_text().replace("here\n", "here\nA sentence of ours.\n", 1))
    text = page.read_text()
    assert (
        "A sentence of ours." in text
        and "| 41.50 |" in text
        and "40.00" not in text
        and text.count("<!-- end") == 1
    )
    assert (tmp_path / "page" / "table7_toy.png").is_file()
    with pytest.raises(UserError, match="--table N"):
        document(tmp_path, page)


def test_the_results_page_is_what_its_files_say() -> None:
    page = ROOT / "docs" / "results.md"
    contents = [
        json.loads(file.read_text()) for file in sorted((ROOT / "docs" / "results").glob("table*.json"))
    ]
    if contents:
        assert renew(page.read_text(), contents, "results") == page.read_text()
