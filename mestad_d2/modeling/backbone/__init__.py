"""Video backbones: stage name -> list of pathway features (N, C, T, H, W)."""

from mestad_d2.modeling.backbone import hiera, mvit, slow, slowfast, swin, vit, x3d  # noqa: F401  (registers them)
