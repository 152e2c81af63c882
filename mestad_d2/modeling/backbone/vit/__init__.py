"""Plain video transformers: one resolution throughout, and a simple feature pyramid on top."""

from mestad_d2.modeling.backbone.vit import videomae, vivit, vjepa2  # noqa: F401  (registers them)
