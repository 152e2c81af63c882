"""Long-term feature bank: an actor attends to the features of all actors up to 30 s before and after (Table 1).

Wu et al., Long-Term Feature Banks for Detailed Video Understanding, CVPR 2019. Shapes: N clips, R actors, C channels of
a pooled feature, D of the operator, M features of a clip's bank.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_HEADS_REGISTRY
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn
from torch.nn import functional as F

from mestad_d2.modeling.roi_heads.action_heads import LinearActionHead
from mestad_d2.modeling.roi_heads.video_roi_heads import VideoROIHeads, clip_index, pool_time


class FeatureBank:
    """Features of actors by film and time in s, in half precision on the CPU."""

    def __init__(self) -> None:
        self._films: dict[str, dict[float, np.ndarray]] = {}
        self._times: dict[str, list[float]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._films.values()))

    def __deepcopy__(self, memo: dict) -> FeatureBank:
        # A teacher looks into the same bank.
        return self

    def put(self, video: str, time: float, features: np.ndarray) -> None:
        """Keep the features (n, C) of the actors of a moment, in place of those that were there."""
        self._films.setdefault(video, {})[time] = features.astype(np.float16)
        self._times.pop(video, None)

    def around(self, video: str, time: float, seconds: float) -> np.ndarray | None:
        """Return the features (M, C) within ``seconds`` before and after, in order of time; None: there are none."""
        film = self._films.get(video, {})
        if video not in self._times:
            self._times[video] = sorted(film)
        times = self._times[video]
        found = times[bisect_left(times, time - seconds) : bisect_right(times, time + seconds)]
        found = [film[at] for at in found if len(film[at])]
        return np.concatenate(found) if found else None

    def merge(self, other: FeatureBank) -> None:
        """Take over all that another bank holds."""
        for video, film in other._films.items():
            for time, features in film.items():
                self.put(video, time, features)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the bank as arrays: ``videos, times, counts`` of its moments, and ``features`` of all together."""
        rows = [(v, t, f) for v, film in sorted(self._films.items()) for t, f in sorted(film.items())]
        width = rows[0][2].shape[1] if rows else 0
        return {
            "videos": np.array([v for v, _, _ in rows], dtype=str),
            "times": np.array([t for _, t, _ in rows], dtype=np.float64),
            "counts": np.array([len(f) for _, _, f in rows], dtype=np.int64),
            "features": np.concatenate([np.zeros((0, width), np.float16), *[f for _, _, f in rows]]),
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> FeatureBank:
        """Make the bank that ``to_arrays`` described."""
        bank = cls()
        parts = (
            np.split(arrays["features"], np.cumsum(arrays["counts"])[:-1]) if len(arrays["counts"]) else []
        )
        for video, time, part in zip(arrays["videos"], arrays["times"], parts, strict=True):
            bank.put(str(video), float(time), part)
        return bank


class NonLocalBankOperator(nn.Module):
    """The paper's FBO-NL: non-local blocks from an actor's feature to the bank's."""

    def __init__(self, channels: int, dim: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.short, self.long = nn.Linear(channels, dim), nn.Linear(channels, dim)
        self.query, self.key, self.value, self.out = (
            nn.ModuleList([nn.Linear(dim, dim) for _ in range(num_layers)]) for _ in range(4)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(dim) for _ in range(num_layers)])
        self.dropout = nn.Dropout(dropout)

    def forward(self, actors: Tensor, bank: Tensor) -> Tensor:
        """Compute (R, D) of a clip's actors (R, C) and its bank (M, C), where M is above 0."""
        state, long = self.dropout(self.short(actors)), self.dropout(self.long(bank))
        layers = zip(self.query, self.key, self.value, self.norms, self.out, strict=True)
        for query, key, value, norm, out in layers:
            seen = F.scaled_dot_product_attention(query(state)[None], key(long)[None], value(long)[None])[0]
            state = state + self.dropout(out(norm(seen).relu()))
        return state


@ROI_HEADS_REGISTRY.register()
class FeatureBankROIHeads(VideoROIHeads):
    """Classify actors by their own features and by what they find in a bank of the film's actors.

    The bank is filled by passes over whole films (``filling``); the trainer and the predictor make them. Without a bank,
    the bank's half of the classified feature is zero.
    """

    pooled_maps_only = False
    takes_inputs = True

    @configurable
    def __init__(
        self, *, channels: int, dim: int, num_layers: int, dropout: float, seconds: float, **arguments: object
    ) -> None:
        """``channels`` of the pooled feature; the others as in ``MODEL.FEATURE_BANK`` and ``VideoROIHeads``."""
        super().__init__(**arguments)
        self.dim, self.seconds = dim, seconds
        self.operator = NonLocalBankOperator(channels, dim, num_layers, dropout)
        self.bank, self._filled = FeatureBank(), None

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        own, head = cfg.MODEL.FEATURE_BANK, cfg.MODEL.ROI_ACTION_HEAD
        channels = input_shape[head.IN_FEATURE].channels
        return super().from_config(cfg, input_shape) | {
            "predictor": LinearActionHead(cfg, channels + own.DIM, with_context=False),
            "channels": channels,
            "dim": own.DIM,
            "num_layers": own.NUM_LAYERS,
            "dropout": own.DROPOUT,
            "seconds": own.SECONDS,
        }

    @contextmanager
    def filling(self) -> Iterator[FeatureBank]:
        """Collect the features of the actors that are classified in the block, in inference, into a new bank."""
        self._filled = FeatureBank()
        try:
            yield self._filled
        finally:
            self._filled = None

    @contextmanager
    def looking_into(self, bank: FeatureBank) -> Iterator[None]:
        """Use another bank in the block."""
        before, self.bank = self.bank, bank
        try:
            yield
        finally:
            self.bank = before

    def logits(
        self,
        images: ImageList,
        features: dict[str, list[Tensor]],
        actors: list[Instances],
        inputs: list[dict] | None = None,
    ) -> Tensor:
        """Compute the action logits (R, A) of actors; ``inputs`` have ``video_id`` and ``timestamp`` in s."""
        frames = pool_time(features[self.in_feature], self.temporal_pool)
        pooled = self.pooler([frames], [a.proposal_boxes for a in actors])
        vectors = self.predictor.pool(pooled).flatten(1)
        inputs = inputs or [{} for _ in actors]
        if not len(vectors):
            # One made-up actor keeps all parameters in the graph, as every process needs their gradients.
            nobody = frames[:1].amax(dim=(2, 3))
            empty = torch.cat([vectors, self.operator(nobody, nobody)[:0]], dim=1)
            return self.predictor(empty[:, :, None, None], frames, clip_index(actors, frames.device))
        seen = []
        for item, own in zip(inputs, vectors.split([len(a) for a in actors]), strict=True):
            place = item.get("video_id", ""), float(item.get("timestamp", 0.0))
            if self._filled is not None and not self.training:
                self._filled.put(*place, own.detach().float().cpu().numpy())
            bank = self.bank.around(*place, self.seconds)
            if bank is None:
                # Connected to the graph, so that every process has gradients of every parameter.
                seen.append(
                    0.0 * self.operator(own, own.detach()) if len(own) else own.new_zeros(0, self.dim)
                )
            else:
                seen.append(self.operator(own, torch.from_numpy(bank).to(own)))
        state = torch.cat([vectors, torch.cat(seen)], dim=1)
        return self.predictor(state[:, :, None, None], frames, clip_index(actors, frames.device))
