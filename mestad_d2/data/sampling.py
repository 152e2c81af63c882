"""Sampling of training clips by draw number.

Draw n (its clip and augmentation) depends only on the seed and n, not on workers or interruptions, so a resumed
run sees the same data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

Mapper = Callable[..., dict]
# Each dataset's mapper, called with a dict, a generator and, in the coarse phase, ``frame_stride``; with its dicts.
Items = list[tuple[Mapper, list[dict]]]


class Draws(Dataset):
    """Dataset whose item n is draw n of an endless shuffled sequence; each epoch is a permutation.

    Clips of draws before ``coarse_draws`` keep every ``frame_stride``-th of their frames.
    """

    def __init__(
        self,
        items: Items,
        seed: int,
        on_error: str,
        max_skipped: float,
        coarse_draws: int = 0,
        frame_stride: int = 1,
    ) -> None:
        self.mappers = [mapper for mapper, _ in items]
        self.coarse_draws, self.frame_stride = coarse_draws, frame_stride
        pairs = [(number, item) for number, (_, dicts) in enumerate(items) for item in dicts]
        # Kept as bytes, which loader processes share; a list of dicts would be copied by each process.
        self.items = DatasetFromList(pairs, copy=False, serialize=True)
        self.seed, self.on_error, self.max_skipped = seed, on_error, max_skipped
        # Shared with the loader's processes, so that the limit holds for all of them together.
        self.skipped = torch.zeros(len(self.items), dtype=torch.bool).share_memory_()
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0))

    def _index(self, draw: int) -> int:
        epoch, place = divmod(draw, len(self.items))
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, 1, epoch])
            self._order = (epoch, rng.permutation(len(self.items)))
        return int(self._order[1][place])

    def __getitem__(self, draw: int) -> dict:
        index = self._index(draw)
        options = {"frame_stride": self.frame_stride} if draw < self.coarse_draws else {}
        for attempt in count():
            number, dataset_dict = self.items[index]
            rng = np.random.default_rng([self.seed, 2, draw, attempt])
            try:
                return self.mappers[number](dataset_dict, rng, **options)
            except UserError as error:
                if self.on_error != "skip":
                    raise
                self._report(index, error)
                index = (index + 1) % len(self.items)
        raise AssertionError("unreachable")

    def _report(self, index: int, error: UserError) -> None:
        if not self.skipped[index]:
            self.skipped[index] = True
            logger.warning("skipped: %s", error)
        lost = int(self.skipped.sum())
        if lost > max(self.max_skipped * len(self.items), 1):
            raise UserError(
                f"{lost} of {len(self.items)} clips can't be read, more than "
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
