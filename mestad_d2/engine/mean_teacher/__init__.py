"""Mean-teacher training with pseudo labels (paper, section 3.4)."""
