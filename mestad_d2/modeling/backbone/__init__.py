"""Video backbones: stage name -> list of pathway features (N, C, T, H, W)."""

from mestad_d2.modeling.backbone import slow, slowfast  # noqa: F401  (registers the builders)
