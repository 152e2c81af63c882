"""Writing videos, sound and frames."""
