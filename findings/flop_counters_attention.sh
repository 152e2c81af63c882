#!/bin/sh
# Counters of operations leave out fused attention on a CPU (`scaled_dot_product_attention`), which is the default of
# transformers. In VideoMAE-B at 16 x 224 x 224 that is a quarter of all: they say 135 G multiply-adds in place of 180.
# torch's own FlopCounterMode knows the fused kernels of GPUs, not the one of CPUs; fvcore warns in its log; thop never
# counts attention, fused or not.
#
# Packages: torch 2.14.1 (that of PYTHON, any device), fvcore 0.1.5.post20221221, thop 0.1.1.post2209072238, ptflops 0.7.5.
# Expected: projections plus attention, as counted by hand, from each counter. Seen: the projections alone; with attention
# written as two matrix products torch, fvcore and ptflops are right, thop is not. Exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/packages" fvcore==0.1.5.post20221221 iopath==0.1.10 \
    yacs==0.1.8 portalocker==3.2.0 termcolor==3.1.0 tabulate==0.9.0 tqdm==4.67.1 thop==0.1.1.post2209072238 ptflops==0.7.5
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import logging
import sys

import torch
from torch import nn

logging.disable(logging.ERROR)
import fvcore
import ptflops
import thop
from fvcore.nn import FlopCountAnalysis
from torch.utils.flop_counter import FlopCounterMode

assert "/packages/" in fvcore.__file__ and "/packages/" in thop.__file__ and "/packages/" in ptflops.__file__
TOKENS, WIDTH, HEADS = 196, 64, 4


class Attention(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.fused, self.qkv, self.out = fused, nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, tokens):
        q, k, v = self.qkv(tokens).reshape(-1, TOKENS, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            mixed = ((q @ k.transpose(-1, -2)) * (WIDTH // HEADS) ** -0.5).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).reshape(-1, TOKENS, WIDTH))


def counts(fused):
    model, clip = Attention(fused).eval(), torch.randn(1, TOKENS, WIDTH)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clip)
    return {
        # A multiply-add is two operations here.
        "torch": counter.get_total_flops() / 2,
        "fvcore": FlopCountAnalysis(model, clip).total(),
        "thop": thop.profile(model, (clip,), verbose=False)[0],
        "ptflops": ptflops.get_model_complexity_info(
            model, (TOKENS, WIDTH), as_strings=False, print_per_layer_stat=False, verbose=False, backend="aten"
        )[0],
    }


projections, attention = 4 * TOKENS * WIDTH**2, 2 * TOKENS**2 * WIDTH
fused, plain = counts(True), counts(False)
print(f"torch {torch.__version__}; by hand: projections {projections}, attention {attention}")
for name in fused:
    print(f"{name:8} fused {fused[name]:.0f}, as two products {plain[name]:.0f}")


def near(found, right):
    # Softmax and scaling are counted by some.
    return abs(found - right) < 0.1 * attention


left_out = all(near(number, projections) for number in fused.values())
right = all(near(plain[name], projections + attention) for name in ("torch", "fvcore", "ptflops"))
sys.exit(not (left_out and right and near(plain["thop"], projections)))
END_PYTHON
