"""FCOS as proposal generator (paper, section 3.3): head, targets, losses and the module that joins them."""

from mestad_d2.modeling.proposal_generator.fcos.fcos import FCOSProposals

__all__ = ["FCOSProposals"]
