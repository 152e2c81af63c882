"""Every table of the paper as a list of runs."""
