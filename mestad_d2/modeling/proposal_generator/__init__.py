"""Actor localisation: heads that propose people on the key frame's pyramid (paper, Table 2)."""

from mestad_d2.modeling.proposal_generator.fcos import FCOSProposals
from mestad_d2.modeling.proposal_generator.gfocal import GFocalProposals
from mestad_d2.modeling.proposal_generator.retinanet import RetinaNetProposals
from mestad_d2.modeling.proposal_generator.rpn_rcnn import RPNRCNNProposals
from mestad_d2.modeling.proposal_generator.sparse_rcnn import SparseRCNNProposals

__all__ = [
    "FCOSProposals",
    "GFocalProposals",
    "RPNRCNNProposals",
    "RetinaNetProposals",
    "SparseRCNNProposals",
]
