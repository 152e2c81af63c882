"""Model parts; importing registers backbones, proposal generators, ROI heads and the meta architecture."""

from mestad_d2.modeling import backbone, proposal_generator, roi_heads  # noqa: F401  (registers)
from mestad_d2.modeling.meta_arch import MESTAD

__all__ = ["MESTAD"]
