"""Names of the tube datasets, for ``DATASETS.TRAIN`` and ``DATASETS.TEST``; files below DETECTRON2_DATASETS."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog

from mestad_d2.data.tube_datasets.load import FPS, label_map_path, load_tube_dataset
from mestad_d2.formats.label_map import read_label_map

JHMDB_SPLITS = (1, 2, 3)


def register_tube_dataset(
    name: str,
    dataset: str,
    *,
    video_root: Path,
    truth: Path,
    part: str,
    split: int = 1,
    test_list: Path | None = None,
    step: int = 1,
) -> None:
    """Register one part of a dataset; files are read when it is used.

    Args:
        name: for ``DATASETS.TRAIN`` and ``DATASETS.TEST``; registering it again replaces it.
        dataset: whose label map it has: "ucf101_24", "jhmdb" or "multisports".
        video_root, truth, part, split, test_list, step: see ``load_tube_dataset``.
    """
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    listed = str(test_list) if test_list else None
    load = partial(load_tube_dataset, str(video_root), str(truth), part, split, listed, step)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        evaluator_type="tubes",
        thing_classes=["person"],
        label_map=str(label_map_path(dataset)),
        action_names=read_label_map(str(label_map_path(dataset)))[0],
        tubes={"path": str(truth), "split": split, "test_list": listed, "part": part},
        video_root=str(video_root),
        start=0.0,
        fps=FPS,
        flip_pairs=[],
    )


def register_tube_datasets(root: Path, train_step: int = 1, test_step: int = 1) -> None:
    """Register ucf101_24_{train,test}, jhmdb_{train,test}_{1,2,3} and multisports_{train,val}.

    Args:
        root: of all datasets; their layout is in docs/tubes.md.
        train_step, test_step: every so many frames are key frames.
    """
    ucf, jhmdb, sports = root / "ucf101_24", root / "jhmdb", root / "multisports"
    ucf_truth = _first(ucf, "finalAnnots.mat", "pyannot.pkl")
    for part, step in (("train", train_step), ("test", test_step)):
        register = partial(register_tube_dataset, part=part, step=step)
        name, tests = f"ucf101_24_{part}", ucf / "testlist01.txt"
        register(name, "ucf101_24", video_root=_pictures(ucf), truth=ucf_truth, test_list=tests)
        for split in JHMDB_SPLITS:
            name, truth = f"jhmdb_{part}_{split}", jhmdb / "JHMDB-GT.pkl"
            register(name, "jhmdb", video_root=_pictures(jhmdb), truth=truth, split=split)
        name, truth = f"multisports_{'val' if part == 'test' else 'train'}", sports / "multisports_GT.pkl"
        register(name, "multisports", video_root=_pictures(sports), truth=truth)


def _first(folder: Path, *names: str) -> Path:
    return next((folder / name for name in names if (folder / name).exists()), folder / names[0])


def _pictures(folder: Path) -> Path:
    """Videos, or else the frames that the dataset is shared as."""
    return next(
        (folder / n for n in ("videos", "Frames", "frames") if (folder / n).is_dir()), folder / "videos"
    )
