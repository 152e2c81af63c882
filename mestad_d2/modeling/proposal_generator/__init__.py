"""Actor localisation: heads that propose people on the key frame's pyramid."""

from mestad_d2.modeling.proposal_generator.fcos.fcos import FCOSProposals

__all__ = ["FCOSProposals"]
