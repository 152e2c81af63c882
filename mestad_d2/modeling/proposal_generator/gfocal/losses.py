"""Quality focal and distribution focal loss (Generalized Focal Loss, Eq. 2 and 6)."""

from __future__ import annotations

from torch import Tensor

EPS = 1e-7


def quality_focal_loss(probability: Tensor, quality: Tensor, beta: float = 2.0) -> Tensor:
    """Compute |quality - p| ** beta times the cross entropy of p and the quality, elementwise.

    Args:
        probability: scores in [0, 1]; probabilities and not logits, because GFocalV2's score is a product.
        quality: wanted scores of the same shape, IoU at positives and 0 elsewhere.
        beta: exponent.
    """
    # torch's binary_cross_entropy aborts on NaN, before the trainer can act on a loss that is not finite.
    probability = probability.clamp(EPS, 1 - EPS)
    entropy = -quality * probability.log() - (1 - quality) * (1 - probability).log()
    return (quality - probability).abs().pow(beta) * entropy


def distribution_focal_loss(logits: Tensor, distance: Tensor) -> Tensor:
    """Compute the cross entropy of a distribution with the two whole numbers around a distance, elementwise.

    Args:
        logits: (..., n + 1) over the distances 0 .. n.
        distance: (...), in [0, n].

    Returns:
        (...): -(right - y) log p_left - (y - left) log p_right.
    """
    log_probability = logits.log_softmax(dim=-1)
    left = distance.floor().long().clamp(max=logits.shape[-1] - 2)
    share = distance - left
    at_left = log_probability.gather(-1, left[..., None]).squeeze(-1)
    at_right = log_probability.gather(-1, left[..., None] + 1).squeeze(-1)
    return -(1 - share) * at_left - share * at_right
