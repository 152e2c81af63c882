"""Data: videos and AVA's files to model inputs; importing registers the built-in datasets."""

from mestad_d2.data.catalog import register_ava_dataset, register_builtin

__all__ = ["register_ava_dataset", "register_builtin"]

register_builtin()
