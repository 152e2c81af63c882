"""Tools that clean up remove what they made and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.errors import UserError
from mestad_d2.formats.made_files import MANIFEST, changed_since, note_made, remove_made
from mestad_d2.reproduce.demo import clear_previous, results_of


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_unchanged_files_of_the_list_go(tmp_path: Path) -> None:
    for name in ("a", "b", "deep/c", "deep/mine"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    note_made(tmp_path, [tmp_path / name for name in ("a", "b", "deep/c", "later")])
    (tmp_path / "b").write_text("changed by somebody")
    (tmp_path / "later").write_text("made after the list")
    assert changed_since(tmp_path) == [tmp_path / "b"]
    remove_made(tmp_path)
    assert names(tmp_path) == {"b", "deep/mine"}


@pytest.mark.parametrize("listed", ["../precious", "{root}/precious", "link", "linked/precious", "."])
def test_a_list_reaches_no_file_elsewhere(tmp_path: Path, listed: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    precious = tmp_path / "precious"
    precious.write_text("x")
    (folder / "link").symlink_to(precious)
    (folder / "linked").symlink_to(tmp_path)
    for mark in (None, hashlib.sha256(b"x").hexdigest()):
        (folder / MANIFEST).write_text(json.dumps({"files": {listed.format(root=tmp_path): mark}}))
        remove_made(folder)
        assert precious.read_text() == "x" and (folder / "link").is_symlink()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 3}', "\x00"])
def test_a_damaged_list_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / MANIFEST).write_text(text)
    remove_made(tmp_path)
    assert (tmp_path / "a").exists()


def test_a_new_toy_dataset_takes_the_place_of_its_own_files_alone(tmp_path: Path) -> None:
    root = tmp_path / "toy"
    make_toy(root, videos=1, val_videos=1, seconds=2, workers=1)
    (root / "videos" / "mine.mp4").write_text("precious")
    (root / "notes.txt").write_text("precious")
    make_toy(root, videos=2, val_videos=0, seconds=2, workers=1)
    assert names(root / "videos") == {"toy_train_000.mp4", "toy_train_001.mp4", "mine.mp4"}
    assert (root / "notes.txt").read_text() == "precious"
    before = names(root)
    (root / "annotations" / "train.csv").write_text("corrected by hand\n")
    with pytest.raises(UserError, match="train.csv: was changed since"):
        make_toy(root, videos=1, val_videos=0, seconds=2, workers=1)
    assert names(root) == before and (root / "annotations" / "train.csv").read_text() == "corrected by hand\n"
    # A dataset of the version before, without a list.
    (root / MANIFEST).unlink()
    with pytest.raises(UserError, match="without a list of its files"):
        make_toy(root, videos=1, val_videos=0, seconds=2, workers=1)
    assert os.listdir(tmp_path) == ["toy"]


def test_the_demo_clears_what_a_demo_left(tmp_path: Path) -> None:
    results = results_of(tmp_path, "toy_val_000")
    (tmp_path / "video").mkdir()
    (tmp_path / "video" / "mine.mp4").write_text("precious")
    (tmp_path / "metrics.json").write_text("of another program")
    with pytest.raises(UserError, match=r"metrics.json: is there, and not as a demo made it"):
        clear_previous(tmp_path, results)
    assert (tmp_path / "metrics.json").read_text() == "of another program"
    (tmp_path / "metrics.json").unlink()
    clear_previous(tmp_path, results)
    # Stopped half way, then whole, then with figures that somebody noted something in.
    for count in (3, len(results)):
        for path in results[:count]:
            path.write_text("made")
        if count == len(results):
            note_made(tmp_path, results)
        clear_previous(tmp_path, results)
        assert names(tmp_path) == {MANIFEST, "video/mine.mp4"}
    results[0].write_text("made")
    note_made(tmp_path, results)
    results[0].write_text("made, and a remark")
    with pytest.raises(UserError, match="metrics.json"):
        clear_previous(tmp_path, results)
    assert results[0].read_text() == "made, and a remark"
