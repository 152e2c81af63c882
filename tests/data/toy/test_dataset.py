"""The toy dataset is what docs/toy.md says: real files, honest labels, the same for everybody."""

from __future__ import annotations

import hashlib
from pathlib import Path

import av
import numpy as np
import pytest

from mestad_d2.data.toy.actions import TOY_ACTIONS
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.data.toy.statistics import durations, overlap_share, tracks_of, unchanged_share
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow, read_ground_truth, read_label_map


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of six seconds."""
    root = tmp_path_factory.mktemp("data") / "toy"
    make_toy(root, seed=3, videos=2, val_videos=1, seconds=6, workers=1)
    return root


def digest(root: Path) -> str:
    """One number for all files below ``root``."""
    total = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def test_the_seed_alone_decides(toy: Path, tmp_path: Path) -> None:
    make_toy(tmp_path / "again", seed=3, videos=2, val_videos=1, seconds=6, workers=2)
    make_toy(tmp_path / "other", seed=4, videos=2, val_videos=1, seconds=6, workers=2)
    assert digest(toy) == digest(tmp_path / "again") != digest(tmp_path / "other")


def test_a_finished_dataset_is_left_alone_and_other_folders_are_refused(toy: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in toy.rglob("*")}
    make_toy(toy, seed=3, videos=2, val_videos=1, seconds=6)
    assert before == {path: path.stat().st_mtime_ns for path in toy.rglob("*")}
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="no toy dataset"):
        make_toy(tmp_path, videos=1, val_videos=0, seconds=2)
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_videos_are_real_and_every_frame_is_labelled_at_its_time(toy: Path) -> None:
    rows = read_ground_truth(str(toy / "annotations" / "dense.csv"))
    rates = set()
    for path in sorted((toy / "videos").glob("*.mp4")):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            times = [frame.time for frame in container.decode(stream)]
            rates.add(int(stream.average_rate))
            assert (stream.width, stream.height) == (160, 128)
        assert len(times) == 6 * int(stream.average_rate)
        labelled = {row.timestamp for row in rows if row.video_id == path.stem}
        assert all(np.abs(np.array(times) - time).min() < 1e-3 for time in labelled)
    assert rates == {25, 30}


def test_key_frames_are_the_dense_labels_of_whole_seconds(toy: Path) -> None:
    dense = set(read_ground_truth(str(toy / "annotations" / "dense.csv")))
    for split in ("train", "val"):
        rows = read_ground_truth(str(toy / "annotations" / f"{split}.csv"))
        assert rows and all(row.timestamp == int(row.timestamp) for row in rows)
        assert all(row.video_id.startswith(f"toy_{split}") for row in rows)
        assert set(rows) <= dense


def test_boxes_and_ids_are_sound(toy: Path) -> None:
    names, groups = read_label_map(str(toy / "annotations" / "label_map.pbtxt"))
    assert names == {number: name for number, name, _ in TOY_ACTIONS}
    assert set(groups.values()) == {"pose", "object", "person"}
    for row in read_ground_truth(str(toy / "annotations" / "dense.csv")):
        assert 0 <= row.box[0] < row.box[2] <= 1 and 0 <= row.box[1] < row.box[3] <= 1
        assert row.action_id in names


def test_statistics_by_hand() -> None:
    def row(time: float, action: int, person: int = 0, x: float = 0.0) -> AnnotationRow:
        return AnnotationRow("v", time, (x, 0.0, x + 0.5, 1.0), action, person)

    # One second at 10 fps: action 1 all the time, action 2 from 0.3 to 0.6 s.
    rows = [row(i / 10, 1) for i in range(11)] + [row(i / 10, 2) for i in range(3, 6)]
    tracks = tracks_of(rows)
    assert durations(tracks) == {2: [pytest.approx(0.3)]}
    # Pairs 0.5 s apart: of 0.0..0.5, the sets differ but for 0.1, 0.2 -> 0.6, 0.7 and 0.0 -> 0.5 (which has 2).
    assert unchanged_share(tracks, 0.5) == pytest.approx(2 / 6)
    assert overlap_share([row(0, 1), row(0, 1, 1, x=0.1)]) == 1.0
    assert overlap_share([row(0, 1), row(0, 1, 1, x=0.4)]) == 0.0
