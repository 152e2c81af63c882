"""The graft experiment: a two-stage model and the one network made of it, on the same simulated person boxes."""
