"""Base of all proposal generators: find candidates, then select among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from mestad_d2.modeling.proposal_generator.select import Selection, select_proposals


class Candidates(NamedTuple):
    """Boxes from which proposals are selected; per clip, or stacked over the N clips.

    Attributes:
        boxes: (R, 4) in pixels.
        scores: (R,) person scores in [0, 1], for the threshold.
        rank: (R,) in [0, 1], for order and NMS.
        levels: (R,), the pyramid level of each box, the same for all clips; None: there is one level.
    """

    boxes: Sequence[Tensor] | Tensor
    scores: Sequence[Tensor] | Tensor
    rank: Sequence[Tensor] | Tensor
    levels: Tensor | None = None


class ProposalGenerator(nn.Module):
    """Base class of proposal generators; subclasses define ``candidates``.

    Where candidate i is the same learned proposal in every clip, ``numbered`` is True and proposals have
    ``proposal_index``.
    """

    numbered = False

    def __init__(self, train_selection: Selection, test_selection: Selection) -> None:
        super().__init__()
        self.train_selection, self.test_selection = train_selection, test_selection

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        gt_instances: list[Instances] | None = None,
        selection: Selection | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Return proposals per clip, detached from the graph, and in training the losses; the head runs once.

        Args:
            images: for the clips' sizes.
            features: level name -> (N, C, H, W).
            gt_instances: per clip, with ``gt_boxes`` in pixels; needed in training.
            selection: in place of ``train_selection`` or ``test_selection``.

        Returns:
            per clip ``proposal_boxes``, ``objectness_logits`` (the rank) and ``scores``, best first; and
            losses by name, empty in inference.
        """
        found, losses = self.candidates(images, features, gt_instances)
        selection = selection or (self.train_selection if self.training else self.test_selection)
        clips = zip(images.image_sizes, found.boxes, found.scores, found.rank, strict=True)
        with torch.no_grad():
            return [select_proposals(*clip, found.levels, selection, self.numbered) for clip in clips], losses

    def candidates(
        self, images: ImageList, features: dict[str, Tensor], gt_instances: list[Instances] | None
    ) -> tuple[Candidates, dict[str, Tensor]]:
        """Return the candidates of all clips, and in training the losses; arguments as of ``forward``."""
        raise NotImplementedError
