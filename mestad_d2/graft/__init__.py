"""From a two-stage action detector to one network: a person head is trained onto frozen weights."""
