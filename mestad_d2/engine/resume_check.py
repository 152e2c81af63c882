"""Compare a resumed run with its last checkpoint: log changes, or refuse them where results would be invalid."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog

from mestad_d2.config_files import RENAMED, leaves
from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

# Keys that a checkpoint's state depends on; patterns of fnmatch.
STATE = (
    "MODEL.*",
    "SOLVER.OPTIMIZER",
    "SOLVER.FREEZE",
    "SEED",
    "DATASETS.TRAIN",
    "SEMISUP.ENABLED",
    "SEMISUP.PSEUDO_LABELER",
)
# Exceptions from them.
HARMLESS = (
    "MODEL.WEIGHTS*",
    "MODEL.DEVICE",
    "MODEL.CHANNELS_LAST",
    "MODEL.PROPOSALS.*",
    "MODEL.FCOS.*THRESH*",
    "MODEL.FCOS.*NMS*",
    "MODEL.*.LOSS_WEIGHT",
    "MODEL.ROI_ACTION_HEAD.TRAIN_BOXES",
    "MODEL.ROI_ACTION_HEAD.TEST_BOXES",
    "MODEL.ROI_ACTION_HEAD.SCORE_*",
    "MODEL.ROI_ACTION_HEAD.POSITIVE*",
    "MODEL.ROI_ACTION_HEAD.DROPOUT",
)
# Keys of paths, and keys that are not part of a run.
UNTOLD = ("OUTPUT_DIR", "MODEL.DEVICE", "VERSION", "DATALOADER.NUM_WORKERS")
SHOWN = 12
LABELS, VIDEOS = "labels of ", "videos of "
# Videos whose content is looked at, evenly chosen, and the bytes that are read of each.
MAX_VIDEOS, HEAD_BYTES = 100, 65536


def notes(cfg: CfgNode) -> dict[str, Any]:
    """Return what a checkpoint stores for comparison: the config, and digests of the training labels and videos."""
    labels = {name: fingerprint(name) for name in cfg.DATASETS.TRAIN}
    videos = {VIDEOS + name: videos_fingerprint(name) for name in cfg.DATASETS.TRAIN}
    return {"config": cfg.dump(), "data": labels | videos}


def fingerprint(dataset: str) -> str:
    """Compute a digest of a registered dataset's label files; empty where none are on disk."""
    meta, found = MetadataCatalog.get(dataset), hashlib.blake2b(digest_size=16)
    paths = [meta.get(name, None) for name in ("ground_truth", "exclude", "label_map")]
    files = [Path(path) for path in paths if path and Path(path).is_file()]
    for path in files:
        found.update(path.read_bytes())
    return found.hexdigest() if files else ""


def videos_fingerprint(dataset: str) -> str:
    """Compute a digest of a dataset's video ids and of the sizes and first bytes of up to ``MAX_VIDEOS`` of them.

    Of a folder of pictures the number of files counts. Times of files do not, as copying a dataset changes them.
    """
    places = sorted({(item["video_id"], item["file_name"]) for item in DatasetCatalog.get(dataset)})
    found = hashlib.blake2b(repr([name for name, _ in places]).encode(), digest_size=16)
    for _, place in places[:: -(-len(places) // MAX_VIDEOS) or 1]:
        path = Path(place)
        if path.is_file():
            with path.open("rb") as file:
                found.update(f"{path.stat().st_size}:".encode() + file.read(HEAD_BYTES))
        elif path.is_dir():
            found.update(f"{len(os.listdir(path))}:".encode())
    return found.hexdigest()


def check_changes(
    cfg: CfgNode, before: Mapping[str, Any], accept: bool = False, now: Mapping[str, Any] | None = None
) -> None:
    """Log what differs from a checkpoint's ``notes``.

    Args:
        cfg: of the run that goes on.
        before: the checkpoint's values; without notes nothing is compared.
        accept: take changes of the model, the optimiser, the seed or the training data too.
        now: the ``notes`` of the run that goes on; None: they are made here.

    Raises:
        UserError: such a change, and ``accept`` is not given.
    """
    changes = _changed_keys(cfg, before.get("config"))
    data = before.get("data")
    if isinstance(data, Mapping):
        for key, digest in (now or notes(cfg))["data"].items():
            # Checkpoints of earlier versions lack some of them.
            if data.get(key) is not None and data[key] != digest:
                changes[key if key.startswith(VIDEOS) else LABELS + key] = (
                    "those of the checkpoint",
                    "others",
                )
    serious = [key for key in changes if _is_serious(key)]
    told = [f"{key} {old!r} -> {new!r}" for key, (old, new) in changes.items()]
    if serious and not accept:
        first = serious[0]
        old, new = changes[first]
        more = f" (and {len(serious) - 1} more)" if len(serious) > 1 else ""
        raise UserError(
            f"--resume: {first}: the checkpoint has {old!r}, now it is {new!r}{more}; resume with the old one, "
            "take the change with --accept-changes, or start anew with MODEL.WEIGHTS in another OUTPUT_DIR"
        )
    if told:
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        logger.warning(
            "resumed with changes, which are used from now on: %s%s", "; ".join(told[:SHOWN]), more
        )


def _is_serious(key: str) -> bool:
    if any(fnmatchcase(key, pattern) for pattern in HARMLESS):
        return False
    return key.startswith((LABELS, VIDEOS)) or any(fnmatchcase(key, pattern) for pattern in STATE)


def _changed_keys(cfg: CfgNode, text: Any) -> dict[str, tuple[Any, Any]]:
    """Key -> (value before, value now); keys that one of them lacks are of another version and left out."""
    try:
        content = yaml.safe_load(text) if isinstance(text, str) else None
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        return {}
    now = dict(leaves(yaml.safe_load(cfg.dump())))
    then = {RENAMED.get(key, key): value for key, value in leaves(content) if value is not None}
    return {
        key: (then[key], value)
        for key, value in now.items()
        if key in then and then[key] != value and key not in UNTOLD
    }
