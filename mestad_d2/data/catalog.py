"""Names of datasets, for ``DATASETS.TRAIN`` and ``DATASETS.TEST``; files below DETECTRON2_DATASETS."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from mestad_d2.config_values import near
from mestad_d2.data.ava import load_ava, load_unlabeled
from mestad_d2.data.per_video import Setting, as_setting
from mestad_d2.data.toy.actions import TOY_FLIP_PAIRS
from mestad_d2.data.tube_datasets.register import register_tube_datasets
from mestad_d2.errors import UserError
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.frame_list import FrameList

AVA_LABEL_MAPS = {
    "2.1": "ava_action_list_v2.1_for_activitynet_2018.pbtxt",
    "2.2": "ava_action_list_v2.2_for_activitynet_2019.pbtxt",
}


def datasets_root() -> Path:
    """Return the folder of all datasets: the environment variable DETECTRON2_DATASETS, or ``datasets``."""
    return Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()


def register_ava_dataset(
    name: str,
    *,
    video_root: str | os.PathLike[str],
    annotations: str | os.PathLike[str],
    label_map: str | os.PathLike[str] | None,
    exclude: str | os.PathLike[str] | None = None,
    start: Setting = 0.0,
    fps: Setting = FOLDER_FPS,
    dense: str | os.PathLike[str] | None = None,
    flip_pairs: Sequence[tuple[int, int]] = (),
    frame_list: str | os.PathLike[str] | None = None,
    persons_only: bool = False,
    min_score: float = 0.0,
) -> None:
    """Register a dataset in AVA's form; files are read when the dataset is used.

    Args:
        name: for ``DATASETS.TRAIN`` and ``DATASETS.TEST``; registering it again replaces it.
        video_root: folder of video files or frame folders, named by video id.
        annotations: ground-truth csv.
        label_map: the actions' ids and names; None where ``persons_only``.
        exclude: csv of timestamps that are left out.
        start: timestamp of a file's first frame; None: 900 for AVA's cut files, 0 for films; or a csv
            ``video,timestamp`` where they differ.
        fps: frames per second of folders of frames, or a csv ``video,fps``; video files know their own.
        dense: csv of every frame, where there is one, to judge pseudo labels.
        flip_pairs: action ids that a horizontal flip swaps (left and right).
        frame_list: PySlowFast's or mmaction2's list of pictures (``read_frame_list``), whose paths start from
            ``video_root``: its videos are those of the dataset.
        persons_only: the annotations are boxes of people whose actions are unknown, of annotators or of a detector
            (``read_people``); they train the person head alone.
        min_score: least score of detected people that are taken.
    """
    video_root = str(video_root)
    root = FrameList(video_root, str(frame_list)) if frame_list else video_root
    if name in DatasetCatalog.list():
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    exclude = str(exclude) if exclude else None
    load = partial(load_ava, root, str(annotations), exclude, start, fps, persons_only, min_score)
    DatasetCatalog.register(name, load)
    MetadataCatalog.get(name).set(
        evaluator_type="ava",
        thing_classes=["person"],
        ground_truth=str(annotations),
        label_map=str(label_map) if label_map else None,
        persons_only=persons_only,
        exclude=exclude,
        dense=str(dense) if dense else None,
        video_root=root,
        start=start,
        fps=fps,
        flip_pairs=[tuple(pair) for pair in flip_pairs],
    )
    # A missing or malformed dataset is an error only when it is used.
    with suppress(UserError):
        MetadataCatalog.get(name).action_names = read_label_map(str(label_map))[0] if label_map else {}


def action_names(dataset_name: str) -> dict[int, str]:
    """Return the names of the action ids of a registered dataset, from its label map."""
    return read_label_map(MetadataCatalog.get(dataset_name).label_map)[0]


def input_files(dataset_name: str) -> set[str]:
    """Return the files and frame folders that a registered dataset is read from.

    Raises:
        UserError: its annotations or videos can't be read.
    """
    meta = MetadataCatalog.get(dataset_name)
    lists = (meta.get(key) for key in ("ground_truth", "label_map", "exclude", "dense"))
    videos = (item["file_name"] for item in DatasetCatalog.get(dataset_name))
    return {path for path in (*lists, *videos) if path}


def unlabeled_dicts(dataset_name: str, max_gap: float) -> list[dict]:
    """Load the unlabelled clips of a registered dataset; see ``load_unlabeled``. Without actions there are none."""
    meta = MetadataCatalog.get(dataset_name)
    if meta.get("persons_only"):
        return []
    return load_unlabeled(meta.video_root, meta.ground_truth, meta.exclude, meta.start, max_gap, meta.fps)


def check_dataset_names(cfg: CfgNode) -> None:
    """Check that the datasets of training and evaluation are registered.

    Raises:
        UserError: one is not; the line names those that are like it.
    """
    known = DatasetCatalog.list()
    for key in ("TRAIN", "TEST"):
        for name in cfg.DATASETS[key]:
            if name not in known:
                raise UserError(
                    f"DATASETS.{key}: no dataset {name!r} is registered{near(name, known)}; "
                    "DATASETS.CUSTOM takes datasets of one's own"
                )


def _ava_videos(root: Path) -> Path:
    """Videos, or else the frames that people extracted of them."""
    return (
        root / "frames" if (root / "frames").is_dir() and not (root / "videos").is_dir() else root / "videos"
    )


def register_builtin(steps: Sequence[int] = (1, 1)) -> None:
    """Register toy, ucf24_mini, AVA 2.1 and 2.2, and the tube datasets below ``datasets_root()``.

    Args:
        steps: of tube datasets, every so many frames of training and of test videos are key frames.
    """
    root = datasets_root()
    register_tube_datasets(root, *steps)
    for split in ("train", "val"):
        toy = root / "toy" / "annotations"
        register_ava_dataset(
            f"toy_{split}",
            video_root=root / "toy" / "videos",
            annotations=toy / f"{split}.csv",
            label_map=toy / "label_map.pbtxt",
            exclude=toy / f"{split}_excluded.csv",
            dense=toy / "dense.csv",
            flip_pairs=TOY_FLIP_PAIRS,
        )
        ucf = root / "ucf24_mini" / "annotations"
        register_ava_dataset(
            f"ucf24_mini_{split}",
            video_root=root / "ucf24_mini" / "videos",
            annotations=ucf / f"{split}.csv",
            label_map=ucf / "labelmap.pbtxt",
            dense=ucf / "dense.csv",
        )
        for version, label_map in AVA_LABEL_MAPS.items():
            ava = root / "ava" / "annotations"
            register_ava_dataset(
                f"ava_v{version}_{split}",
                video_root=_ava_videos(root / "ava"),
                annotations=ava / f"ava_{split}_v{version}.csv",
                label_map=ava / label_map,
                exclude=ava / f"ava_{split}_excluded_timestamps_v{version}.csv",
                start=None,
            )


_NEEDED = ("NAME", "VIDEOS", "ANNOTATIONS", "LABEL_MAP")
_OPTIONAL = ("EXCLUDE", "START", "FPS", "DENSE", "FLIP_PAIRS", "FRAME_LIST", "PERSONS_ONLY")


def _check_entry(entry: object) -> None:
    """Raise an error on an entry of ``DATASETS.CUSTOM`` whose keys or values are of the wrong kind."""
    keys = set(map(str, entry)) if isinstance(entry, dict) else set()
    persons_only = entry.get("PERSONS_ONLY", False) if isinstance(entry, dict) else False
    needed = set(_NEEDED) - ({"LABEL_MAP"} if persons_only is True else set())
    if needed - keys or keys - {*_NEEDED, *_OPTIONAL}:
        raise UserError(
            f"DATASETS.CUSTOM: an entry has the keys {', '.join(sorted(keys)) or 'none'}; "
            f"give {', '.join(sorted(_NEEDED))} and, if wanted, {', '.join(sorted(_OPTIONAL))}"
        )
    where = f"DATASETS.CUSTOM: {entry['NAME']!r:.60}"
    if not isinstance(persons_only, bool):
        raise UserError(f"{where}: PERSONS_ONLY is {persons_only!r:.60}; write True or False")
    for key in (*_NEEDED, "EXCLUDE", "DENSE", "FRAME_LIST"):
        value = entry.get(key)
        if not (isinstance(value, str) and value) and not (value is None and key not in needed):
            kind = "a name" if key == "NAME" else "a path"
            raise UserError(f"{where}: {key} is {value!r:.60}; write {kind} as text")
    pairs = entry.get("FLIP_PAIRS") or ()
    if not isinstance(pairs, list | tuple) or not all(
        isinstance(pair, list | tuple)
        and len(pair) == 2
        and all(type(action) is int and action > 0 for action in pair)
        and pair[0] != pair[1]
        for pair in pairs
    ):
        raise UserError(f"{where}: FLIP_PAIRS is {pairs!r:.60}; write pairs of action ids, [[4, 5]]")


def register_custom(cfg: CfgNode) -> None:
    """Register the built-in datasets (the folder may have changed) and those of ``DATASETS.CUSTOM``.

    Raises:
        UserError: an entry lacks a key, has an unknown one or a value of the wrong kind, or two have one name.
    """
    register_builtin((cfg.DATASETS.KEYFRAME_STEP_TRAIN, cfg.DATASETS.KEYFRAME_STEP_TEST))
    names: set[str] = set()
    for entry in cfg.DATASETS.CUSTOM or ():
        _check_entry(entry)
        if entry["NAME"] in names:
            raise UserError(f"DATASETS.CUSTOM: two entries are called {entry['NAME']}; rename one")
        names.add(entry["NAME"])
        name = f"DATASETS.CUSTOM: {entry['NAME']}"
        start = as_setting(entry.get("START", 0.0), f"{name}: START")
        fps = as_setting(entry.get("FPS", FOLDER_FPS), f"{name}: FPS")
        register_ava_dataset(
            entry["NAME"],
            video_root=entry["VIDEOS"],
            annotations=entry["ANNOTATIONS"],
            label_map=entry.get("LABEL_MAP"),
            exclude=entry.get("EXCLUDE"),
            start=start,
            fps=fps,
            dense=entry.get("DENSE"),
            flip_pairs=entry.get("FLIP_PAIRS") or (),
            frame_list=entry.get("FRAME_LIST"),
            persons_only=entry.get("PERSONS_ONLY", False),
            min_score=cfg.DATASETS.PERSON_BOX_SCORE,
        )
