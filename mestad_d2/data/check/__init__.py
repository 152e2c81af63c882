"""Check a dataset before a training run does."""
