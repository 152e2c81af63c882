#!/bin/sh
# FlopCounterMode fails on an ordinary inference pass in which a submodule is called with a view of a parameter, such as
# learned queries that are expanded to the batch: under torch.no_grad() or with it as a decorator, such a view has no
# gradient function, and the counter's hook asserts that there is one ("Expected gradient function to be set").
# The same model runs without the counter, is counted with gradients on, with repeat() in place of expand(), and after
# requires_grad_(False), which is the way round it.
#
# Package: torch 2.14.1 (too large to install here: PYTHON has to be an interpreter that has it).
# Expected: 192 operations in every case. Seen: AssertionError for expand() under no_grad(); exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
"$python" -W ignore - <<'END'
import sys

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Reader(nn.Module):
    """Learned queries for each clip of a batch, through a layer."""

    def __init__(self, spread):
        super().__init__()
        self.queries, self.layer, self.spread = nn.Parameter(torch.randn(1, 3, 4)), nn.Linear(4, 4), spread

    def forward(self, clips):
        return self.layer(self.spread(self.queries, len(clips)))


def expand(queries, count):
    return queries.expand(count, -1, -1)


def repeat(queries, count):
    return queries.repeat(count, 1, 1)


def counted(model, gradients):
    with torch.set_grad_enabled(gradients):
        assert model(torch.zeros(2)).shape == (2, 3, 4)
        try:
            with FlopCounterMode(display=False) as counter:
                model(torch.zeros(2))
        except AssertionError as error:
            return f"AssertionError: {error}"
        return counter.get_total_flops()


found = {
    "expand, gradients on": counted(Reader(expand), True),
    "repeat, no_grad": counted(Reader(repeat), False),
    "expand, no_grad, requires_grad_(False)": counted(Reader(expand).requires_grad_(False), False),
    "expand, no_grad": counted(Reader(expand), False),
}
print("torch", torch.__version__)
for name, value in found.items():
    print(f"{name}: {value}")
*fine, failing = found.values()
sys.exit(fine != [192] * 3 or not str(failing).startswith("AssertionError"))
END
