"""GFocalV2 as proposal generator (paper, Table 2): head, ATSS, losses and the module that joins them."""

from mestad_d2.modeling.proposal_generator.gfocal.gfocal import GFocalProposals

__all__ = ["GFocalProposals"]
