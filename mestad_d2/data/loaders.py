"""Loaders of labelled, unlabelled and test clips."""

from __future__ import annotations

import logging

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, DatasetFromList, MetadataCatalog
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from torch.utils.data import BatchSampler, DataLoader, Dataset

from mestad_d2.data.catalog import unlabeled_dicts
from mestad_d2.data.mapper import ClipMapper, UnlabeledClipMapper
from mestad_d2.data.person_boxes import attach_person_boxes, read_person_boxes
from mestad_d2.data.sampling import DrawBatches, Draws, Items
from mestad_d2.data.worker import start_worker
from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)


def _training_loader(
    items: Items, cfg: CfgNode, batch_size: int, seed: int, coarse_iters: int = 0
) -> DataLoader:
    clip = cfg.INPUT.CLIP
    coarse_draws, frame_stride = coarse_iters * batch_size, clip.COARSE_STRIDE
    return DataLoader(
        Draws(items, seed, clip.ON_ERROR, clip.MAX_SKIPPED, coarse_draws, frame_stride),
        batch_sampler=DrawBatches(batch_size),
        # A separate generator: starting a loader must not change the random state that dropout uses.
        generator=torch.Generator(),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_list,
        worker_init_fn=start_worker,
    )


def _as_list(batch: list) -> list:
    return batch


def _seed(cfg: CfgNode) -> int:
    """The run's seed; without one (-1), the same number in all processes."""
    return cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()


def _coarse_iters(cfg: CfgNode) -> int:
    """Return the iterations with thinned clips; check that the key frame of such a clip is in the middle."""
    clip = cfg.INPUT.CLIP
    iterations, stride = clip.COARSE_ITERS, clip.COARSE_STRIDE
    if iterations and (stride < 1 or clip.NUM_FRAMES % (2 * stride)):
        raise UserError(
            f"INPUT.CLIP.COARSE_STRIDE {stride} loses the key frame of {clip.NUM_FRAMES} frames; "
            "take a stride whose double divides INPUT.CLIP.NUM_FRAMES"
        )
    if cfg.SEMISUP.ENABLED and iterations > cfg.SEMISUP.BURN_IN_ITERS:
        raise UserError(
            f"INPUT.CLIP.COARSE_ITERS {iterations}: thinned clips can't go with the teacher's whole ones; "
            f"take at most SEMISUP.BURN_IN_ITERS ({cfg.SEMISUP.BURN_IN_ITERS})"
        )
    return iterations


def _flip_pairs(name: str) -> list[tuple[int, int]]:
    return MetadataCatalog.get(name).get("flip_pairs", [])


def _attach_person_boxes(cfg: CfgNode, name: str, dicts: list[dict], split: str) -> None:
    """Add the detector's boxes to the dicts, where the config names a file of them."""
    files, names = cfg.DATASETS[f"PERSON_BOXES_{split}"], cfg.DATASETS[split]
    if files and len(files) != len(names):
        raise UserError(
            f"DATASETS.PERSON_BOXES_{split}: {len(files)} files for {len(names)} datasets of DATASETS.{split}; "
            "give one each"
        )
    if files and name in names:
        path = files[list(names).index(name)]
        attach_person_boxes(dicts, read_person_boxes(path, cfg.DATASETS.PERSON_BOX_SCORE), path)
    elif cfg.MODEL.ROI_ACTION_HEAD[f"{split}_BOXES"] == "external":
        raise UserError(
            f'MODEL.ROI_ACTION_HEAD.{split}_BOXES is "external": name the file of boxes of {name} in '
            f"DATASETS.PERSON_BOXES_{split}"
        )


def _check_action_ids(cfg: CfgNode, name: str, dicts: list[dict]) -> None:
    """Refuse action ids that have no column of the action head, before the first clip is read."""
    columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    people = (
        person for item in dicts for part in ("annotations", "left", "right") for person in item.get(part, ())
    )
    largest = max((max(person["action_ids"], default=0) for person in people), default=0)
    if largest > columns:
        raise UserError(
            f"{MetadataCatalog.get(name).get('ground_truth', name)}: action id {largest} has no column; "
            f"set MODEL.ROI_ACTION_HEAD.NUM_CLASSES ({columns}) to at least {largest}"
        )


def build_train_loader(cfg: CfgNode) -> DataLoader:
    """Build a loader of endless batches of ``SOLVER.IMS_PER_BATCH`` labelled clips of ``DATASETS.TRAIN``.

    Raises:
        UserError: no clip, or a file that is missing or malformed.
    """
    items: Items = []
    for name in cfg.DATASETS.TRAIN:
        dicts = [
            item
            for item in DatasetCatalog.get(name)
            if not item["excluded"] and (item["annotations"] or not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS)
        ]
        _check_action_ids(cfg, name, dicts)
        _attach_person_boxes(cfg, name, dicts, "TRAIN")
        items.append((ClipMapper(cfg, True, _flip_pairs(name)), dicts))
    clips = sum(len(dicts) for _, dicts in items)
    if not clips:
        raise UserError(f"DATASETS.TRAIN {tuple(cfg.DATASETS.TRAIN)} has no key frame to train on")
    logger.info("%d labelled clips", clips)
    return _training_loader(items, cfg, cfg.SOLVER.IMS_PER_BATCH, _seed(cfg), _coarse_iters(cfg))


def build_unlabeled_loader(cfg: CfgNode) -> DataLoader:
    """Build a loader of endless batches with ``SEMISUP.UNLABELED_RATIO`` unlabelled clips per labelled one.

    Raises:
        UserError: the datasets have no frame next to a key frame.
    """
    items: Items = [
        (UnlabeledClipMapper(cfg, True, _flip_pairs(name)), unlabeled_dicts(name, cfg.SEMISUP.MAX_GAP))
        for name in cfg.DATASETS.TRAIN
    ]
    stretches = sum(len(dicts) for _, dicts in items)
    if not stretches:
        raise UserError(f"DATASETS.TRAIN {tuple(cfg.DATASETS.TRAIN)} has no frames next to key frames")
    batch = max(round(cfg.SOLVER.IMS_PER_BATCH * cfg.SEMISUP.UNLABELED_RATIO), 1)
    logger.info("%d unlabelled stretches, %d clips a batch", stretches, batch)
    return _training_loader(items, cfg, batch, _seed(cfg) + 1)


class _TestClips(Dataset):
    def __init__(self, dicts: list[dict], mapper: ClipMapper) -> None:
        self.dicts, self.mapper = DatasetFromList(dicts, copy=False, serialize=True), mapper

    def __len__(self) -> int:
        return len(self.dicts)

    def __getitem__(self, index: int) -> dict:
        return self.mapper(self.dicts[index], np.random.default_rng(0))


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Build a loader of every key frame once, in batches of ``TEST.BATCH_SIZE``, split over the processes."""
    dicts = DatasetCatalog.get(dataset_name)
    _check_action_ids(cfg, dataset_name, dicts)
    _attach_person_boxes(cfg, dataset_name, dicts, "TEST")
    return DataLoader(
        _TestClips(dicts, ClipMapper(cfg, False)),
        batch_sampler=BatchSampler(InferenceSampler(len(dicts)), cfg.TEST.BATCH_SIZE, drop_last=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_list,
        worker_init_fn=start_worker,
    )
