"""Train on the sparse labels alone, with a schedule for the size of the data."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from detectron2.config import CfgNode

from mestad_d2.data.catalog import register_ava_dataset
from mestad_d2.data.per_video import Setting
from mestad_d2.densify.key_frames import KeyFrame
from mestad_d2.densify.pipeline import file_print
from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_bytes, write_text

DATASET = "densify_sparse"
LABELS, PRINT = "labels.txt", "trained_on.txt"
# Clips per run: few key frames need many epochs, many need few.
LEAST_ITERATIONS, PER_ROOT_OF_FRAMES = 800, 50


def iterations(key_frames: int, batch: int) -> int:
    """Return the iterations for a number of key frames, in batches of 8 clips; smaller batches need more."""
    return round(max(LEAST_ITERATIONS, PER_ROOT_OF_FRAMES * math.sqrt(key_frames)) * 8 / batch)


def training_cfg(
    cfg: CfgNode,
    annotations: Path,
    videos: str,
    keys: dict[str, list[KeyFrame]],
    names: dict[int, str],
    output: Path,
    exclude: str | None = None,
    start: Setting = 0.0,
) -> CfgNode:
    """Return the config that trains on ``annotations``, which it registers as a dataset.

    Dataset, number of classes, schedule and folder are set; all else comes from the config.

    Args:
        cfg: is not changed; names: of the actions, by id; output: folder of the run.
    """
    cfg = cfg.clone()
    cfg.defrost()
    used = {
        a for frames in keys.values() for frame in frames for person in frame.people for a in person.actions
    }
    output.mkdir(parents=True, exist_ok=True)
    label_map = output / LABELS
    ids = sorted(used | set(names))
    # A name with a line break would be read as two.
    lines = [f"{i}: {' '.join(names.get(i, f'action {i}').split()) or f'action {i}'}" for i in ids]
    write_text(label_map, "".join(f"{line}\n" for line in lines))
    register_ava_dataset(
        DATASET, video_root=videos, annotations=annotations, label_map=label_map, exclude=exclude, start=start
    )
    count = sum(len(frames) for frames in keys.values())
    solver = cfg.SOLVER
    solver.MAX_ITER = iterations(count, solver.IMS_PER_BATCH)
    solver.WARMUP_ITERS = min(solver.WARMUP_ITERS, solver.MAX_ITER // 10)
    # An interrupted run loses at most a tenth.
    solver.CHECKPOINT_PERIOD = max(solver.MAX_ITER // 10, 1)
    cfg.SEMISUP.BURN_IN_ITERS = solver.MAX_ITER // 2
    cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES = max([cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES, *used])
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = (DATASET,), ()
    cfg.TEST.EVAL_PERIOD = 0
    cfg.OUTPUT_DIR = str(output)
    return cfg


def keep_or_clear(plan: CfgNode, files: Iterable[str | Path], overwrite: bool) -> None:
    """Continue a training in ``plan.OUTPUT_DIR`` if it is the same one; clear the folder of another.

    Args:
        files: the labels; with the config they identify a training.
        overwrite: whether files of another training may be deleted.

    Raises:
        UserError: the folder holds another training, and ``overwrite`` is not given; or it holds the weights
            to start from.
    """
    folder = Path(plan.OUTPUT_DIR)
    if plan.MODEL.WEIGHTS and Path(plan.MODEL.WEIGHTS).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{plan.MODEL.WEIGHTS}: --train-first writes to its folder; name another --output")
    prints = [file_print(path) for path in (*files, folder / LABELS)]
    own = hashlib.sha256("\n".join([plan.dump(), *prints]).encode()).hexdigest()
    note = folder / PRINT
    if (note.read_text() if note.is_file() else own) != own:
        if not overwrite:
            raise UserError(
                f"{folder}: holds a training on other labels or settings; add --overwrite or name another --output"
            )
        labels = (folder / LABELS).read_bytes()
        shutil.rmtree(folder)
        folder.mkdir()
        write_bytes(folder / LABELS, labels)
    write_text(note, own)
