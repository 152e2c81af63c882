"""The graft experiment: its frames have no labels, and its table says what its figures do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mestad_d2.reproduce.graft.data import UCF_FRAMES, _thin
from mestad_d2.reproduce.graft.report import table
from mestad_d2.reproduce.graft.run import HEADS


def test_frames_without_labels_keep_apart_from_labelled_and_tested_ones(tmp_path: Path) -> None:
    rows = [f"v,{frame / 25:.6f},0.1,0.1,0.5,0.5,1,{person}" for frame in range(75) for person in (0, 1)]
    (tmp_path / "dense.csv").write_text("\n".join(rows) + "\n")
    kept = _thin(
        tmp_path / "dense.csv", tmp_path / "some.csv", lambda _, time: round(time * 25) % 25 in UCF_FRAMES
    )
    frames = Counter(round(float(line.split(",")[1]) * 25) for line in kept.read_text().splitlines())
    assert len(frames) == 3 * len(UCF_FRAMES) and set(frames.values()) == {2}
    # Labels are of frame 0 of each second, tests of frame 12.
    assert min(min(f % 25, 25 - f % 25, abs(f % 25 - 12)) for f in frames) >= 5
    every = _thin(tmp_path / "dense.csv", tmp_path / "seventh.csv", lambda place, _: place % 7 == 3)
    assert len(every.read_text().splitlines()) == 2 * len(range(3, 75, 7))


def test_the_table_has_means_and_ratios_of_finished_parts() -> None:
    runs = [
        {"dataset": "toy", "two_stage_map": 50.0, "two_stage_person": 94.0, "graft_map": 49.0, "graft_person": 92.0,
         "graft_ratio": 0.98},
        {"dataset": "toy", "two_stage_map": 40.0, "two_stage_person": 96.0},
    ]  # fmt: skip
    lines = table({"runs": runs}).splitlines()
    assert (
        lines[2]
        == "| toy | two stages, simulated detector | 2 | 45.00 (50.0, 40.0) | 1 | 95.00 (94.0, 96.0) |"
    )
    assert lines[3] == "| toy | graft | 1 | 49.00 | 0.980 | 92.00 |" and len(lines) == 4
    assert next(iter(HEADS)) == "graft"
