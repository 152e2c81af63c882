"""Speed modes of a trained detector."""
