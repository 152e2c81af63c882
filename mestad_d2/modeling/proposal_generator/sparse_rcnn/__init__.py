"""Sparse R-CNN, the actor head of WOO, as proposal generator: stages, set loss and what joins them."""

from mestad_d2.modeling.proposal_generator.sparse_rcnn.sparse_rcnn import SparseRCNNProposals

__all__ = ["SparseRCNNProposals"]
