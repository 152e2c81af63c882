"""Weights: read safely, format detected from content, loaded with a report on every tensor."""

from mestad_d2.checkpoint.checkpointer import MESTADCheckpointer
from mestad_d2.checkpoint.read import UnreadableCheckpoint, read_checkpoint
from mestad_d2.checkpoint.report import LoadReport

__all__ = ["LoadReport", "MESTADCheckpointer", "UnreadableCheckpoint", "read_checkpoint"]
