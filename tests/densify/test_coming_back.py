"""Corrections merged into labels, and folders of trainings on labels that have changed since."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from label_rows import some_rows
from tiny import tiny_cfg

from mestad_d2.densify.corrections import merge_corrections, training_rows
from mestad_d2.densify.train_first import LABELS, keep_or_clear
from mestad_d2.errors import UserError


def test_a_row_taken_away_is_a_correction_of_its_frame() -> None:
    before = some_rows()
    gone = before[0]
    merged = merge_corrections(before, before[1:])
    here = [row for row in merged if row.timestamp == gone.timestamp]
    assert len(here) == 2 and all(row.confidence is None for row in here)
    assert [row for row in merged if row not in here] == [r for r in before if r.timestamp != gone.timestamp]
    assert training_rows(merged, 0.9) == here


def test_a_box_that_only_rounding_moved_is_none() -> None:
    before = some_rows()
    rounded = [replace(row, box=tuple(v + 4e-4 for v in row.box)) for row in before]
    assert merge_corrections(before, rounded) == before
    moved = [replace(row, box=tuple(v + 2e-3 for v in row.box)) for row in before]
    assert merge_corrections(before, moved) == [replace(row, confidence=None) for row in moved]


def test_a_training_on_other_labels_is_kept_until_told(tmp_path: Path) -> None:
    folder, labels = tmp_path / "out", tmp_path / "sparse.csv"
    folder.mkdir()
    labels.write_text("v,0001,0.1,0.1,0.2,0.2,1,0\n")
    (folder / LABELS).write_text("1: stand\n")
    plan = tiny_cfg("OUTPUT_DIR", folder)
    keep_or_clear(plan, [labels], overwrite=False)
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    keep_or_clear(plan, [labels], overwrite=True)
    assert (folder / "last_checkpoint").exists()
    labels.write_text("v,0001,0.1,0.1,0.2,0.2,2,0\n")
    with pytest.raises(UserError, match="--overwrite"):
        keep_or_clear(plan, [labels], overwrite=False)
    assert (folder / "last_checkpoint").exists()
    keep_or_clear(plan, [labels], overwrite=True)
    assert not (folder / "last_checkpoint").exists() and (folder / LABELS).read_text() == "1: stand\n"
    keep_or_clear(plan, [labels], overwrite=False)


def test_weights_to_start_from_are_not_cleared(tmp_path: Path) -> None:
    plan = tiny_cfg("OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", tmp_path / "model_final.pth")
    with pytest.raises(UserError, match="another --output"):
        keep_or_clear(plan, [], overwrite=True)
