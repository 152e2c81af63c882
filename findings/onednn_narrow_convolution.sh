#!/bin/sh
# Without AVX-512, torch's gradient for the weights of a 3x1x1 convolution over (time, height, width) with 8 channels
# takes oneDNN's path of matrix products (`x64:gemm` with ONEDNN_VERBOSE=1), many times the time of the same sums
# written as a 3x1 convolution over (time, all positions), which oneDNN has a kernel for. Small video networks, whose
# fast pathways and first stages are this narrow, spend half of a training step there. Nothing warns of it.
#
# Packages: torch 2.14.1 (oneDNN 3.x), on an x86-64 CPU; ONEDNN_MAX_CPU_ISA=AVX2 leaves out what newer CPUs have. PYTHON
# has to be an interpreter with torch.
# Expected: equal gradients in about the same processor time. Seen: equal gradients in 15 times the time (AMD EPYC, two
# threads); exit code 1 if they differ or if the ratio is below 5.
set -eu
python=${PYTHON:-python3}
OMP_NUM_THREADS=2 ONEDNN_MAX_CPU_ISA=AVX2 "$python" -W ignore - <<'END_PYTHON'
import sys
import time

import torch
from torch.nn import functional as F

torch.manual_seed(0)
torch.set_num_threads(2)
layout = torch.channels_last_3d
x = torch.rand(8, 8, 8, 28, 36).to(memory_format=layout)
weight = torch.rand(8, 8, 3, 1, 1)
gradient = torch.rand(8, 8, 8, 28, 36).to(memory_format=layout)


def flat(tensor):
    return tensor.reshape(8, 8, 8, 28 * 36)


def in_3d(w):
    return F.conv3d(x, w, padding=(1, 0, 0)), gradient


def in_2d(w):
    return F.conv2d(flat(x), w[..., 0], padding=(1, 0)), flat(gradient)


def measure(way):
    seconds = []
    for _ in range(3):
        w = weight.clone().requires_grad_()
        out, incoming = way(w)
        begin = time.process_time()
        out.backward(incoming)
        seconds.append(time.process_time() - begin)
    return sorted(seconds)[1], w.grad


slow, one = measure(in_3d)
fast, other = measure(in_2d)
print(f"torch {torch.__version__}: gradient in 3-D {slow * 1e3:.0f} ms, in 2-D {fast * 1e3:.0f} ms, ratio {slow / fast:.1f}")
sys.exit(not (torch.allclose(one, other, rtol=1e-3) and slow > 5 * fast))
END_PYTHON
