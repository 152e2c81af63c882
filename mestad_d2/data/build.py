"""Loaders of labelled, unlabelled and test clips.

Training loaders serve numbered draws: what draw n is (which clip, which augmentation) depends on the seed
and on n alone, not on workers or on when a run was interrupted, so a resumed run sees the same data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from torch.utils.data import BatchSampler, DataLoader, Dataset

from mestad_d2.data.builtin import unlabeled_dicts
from mestad_d2.data.dataset_mapper import ClipMapper, UnlabeledClipMapper
from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

Mapper = Callable[[dict, np.random.Generator], dict]


class Draws(Dataset):
    """Draw n of an endless, shuffled walk through the dataset: each epoch is a permutation."""

    def __init__(
        self, items: list[tuple[dict, Mapper]], seed: int, on_error: str, max_skipped: float
    ) -> None:
        self.items, self.seed = items, seed
        self.on_error, self.max_skipped = on_error, max_skipped
        self.skipped: set[int] = set()

    def __getitem__(self, draw: int) -> dict:
        epoch, place = divmod(draw, len(self.items))
        index = int(np.random.default_rng([self.seed, 1, epoch]).permutation(len(self.items))[place])
        for attempt in count():
            dataset_dict, mapper = self.items[index]
            try:
                return mapper(dataset_dict, np.random.default_rng([self.seed, 2, draw, attempt]))
            except UserError as error:
                if self.on_error != "skip":
                    raise
                self._report(index, error)
                index = (index + 1) % len(self.items)
        raise AssertionError("unreachable")

    def _report(self, index: int, error: UserError) -> None:
        if index not in self.skipped:
            self.skipped.add(index)
            logger.warning("skipped: %s", error)
        if len(self.skipped) > max(self.max_skipped * len(self.items), 1):
            raise UserError(
                f"{len(self.skipped)} of {len(self.items)} clips can't be read, more than "
                f"INPUT.CLIP.MAX_SKIPPED = {self.max_skipped} allows; the last: {error}"
            )


class DrawBatches:
    """Batch sampler: the draws of this process's share of batch ``start``, ``start`` + 1, ..."""

    def __init__(self, batch_size: int) -> None:
        world = comm.get_world_size()
        if batch_size % world:
            raise UserError(f"a batch of {batch_size} clips does not divide over {world} processes")
        self.batch_size, self.share, self.rank = batch_size, batch_size // world, comm.get_rank()
        self.start = 0

    def __iter__(self) -> Iterator[list[int]]:
        for batch in count(self.start):
            first = batch * self.batch_size + self.rank * self.share
            yield list(range(first, first + self.share))


def start_at(loader: DataLoader, batch: int) -> None:
    """Make a training loader begin with batch number ``batch``; call it before the first batch is taken."""
    loader.batch_sampler.start = batch


def _training_loader(
    items: list[tuple[dict, Mapper]], cfg: CfgNode, batch_size: int, seed: int
) -> DataLoader:
    clip = cfg.INPUT.CLIP
    return DataLoader(
        Draws(items, seed, clip.ON_ERROR, clip.MAX_SKIPPED),
        batch_sampler=DrawBatches(batch_size),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_list,
        worker_init_fn=_one_thread,
    )


def _as_list(batch: list) -> list:
    return batch


def _one_thread(worker: int) -> None:
    torch.set_num_threads(1)


def _seed(cfg: CfgNode) -> int:
    """The run's seed; without one (-1), the same number in all processes."""
    return cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()


def _flip_pairs(name: str) -> list[tuple[int, int]]:
    return MetadataCatalog.get(name).get("flip_pairs", [])


def build_train_loader(cfg: CfgNode) -> DataLoader:
    """Endless batches of ``SOLVER.IMS_PER_BATCH`` labelled clips of ``DATASETS.TRAIN``.

    Raises:
        UserError: no clip, or a file that is missing or malformed.
    """
    items: list[tuple[dict, Mapper]] = []
    for name in cfg.DATASETS.TRAIN:
        mapper = ClipMapper(cfg, True, _flip_pairs(name))
        for item in DatasetCatalog.get(name):
            if not item["excluded"] and (item["annotations"] or not cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS):
                items.append((item, mapper))
    if not items:
        raise UserError(f"DATASETS.TRAIN {tuple(cfg.DATASETS.TRAIN)} has no key frame to train on")
    logger.info("%d labelled clips", len(items))
    return _training_loader(items, cfg, cfg.SOLVER.IMS_PER_BATCH, _seed(cfg))


def build_unlabeled_loader(cfg: CfgNode) -> DataLoader:
    """Endless batches of unlabelled clips, ``SEMISUP.UNLABELED_RATIO`` a labelled one.

    Raises:
        UserError: the datasets have no frame next to a key frame.
    """
    items: list[tuple[dict, Mapper]] = []
    for name in cfg.DATASETS.TRAIN:
        mapper = UnlabeledClipMapper(cfg, True, _flip_pairs(name))
        items += [(item, mapper) for item in unlabeled_dicts(name, cfg.SEMISUP.MAX_GAP)]
    if not items:
        raise UserError(f"DATASETS.TRAIN {tuple(cfg.DATASETS.TRAIN)} has no frames next to key frames")
    batch = max(round(cfg.SOLVER.IMS_PER_BATCH * cfg.SEMISUP.UNLABELED_RATIO), 1)
    logger.info("%d unlabelled stretches, %d clips a batch", len(items), batch)
    return _training_loader(items, cfg, batch, _seed(cfg) + 1)


class _TestClips(Dataset):
    def __init__(self, dicts: list[dict], mapper: ClipMapper) -> None:
        self.dicts, self.mapper = dicts, mapper

    def __len__(self) -> int:
        return len(self.dicts)

    def __getitem__(self, index: int) -> dict:
        return self.mapper(self.dicts[index], np.random.default_rng(0))


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Every key frame of a dataset once, in batches of ``TEST.BATCH_SIZE``, shared over the processes."""
    dicts = DatasetCatalog.get(dataset_name)
    return DataLoader(
        _TestClips(dicts, ClipMapper(cfg, False)),
        batch_sampler=BatchSampler(InferenceSampler(len(dicts)), cfg.TEST.BATCH_SIZE, drop_last=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=_as_list,
        worker_init_fn=_one_thread,
    )
