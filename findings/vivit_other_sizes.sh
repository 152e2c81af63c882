#!/bin/sh
# ViViT in transformers has the argument `interpolate_pos_encoding` for pictures larger than those of the training, but
# takes its positions for those of one square picture and forgets time: every other size ends in an error about shapes.
# Code that offers other sizes has to interpolate the positions per time step itself.
#
# Package: transformers 5.23.0. PYTHON has to be an interpreter with torch and what transformers imports.
# Expected: features at 96 x 96 and 64 x 96 from a model of 64 x 64. Seen: RuntimeError for both; exit code 1 if that
# changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/packages" transformers==5.23.0
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import sys

import torch
import transformers

assert "/packages/" in transformers.__file__, transformers.__file__
config = transformers.VivitConfig(
    image_size=64,
    num_frames=4,
    tubelet_size=[2, 16, 16],
    hidden_size=48,
    num_attention_heads=2,
    num_hidden_layers=1,
    intermediate_size=48,
)
model = transformers.VivitModel(config).eval()
seen = []
for size in ((64, 64), (96, 96), (64, 96)):
    try:
        with torch.no_grad():
            output = model(torch.randn(1, 4, 3, *size), interpolate_pos_encoding=True)
        seen.append("features")
        print(size, tuple(output.last_hidden_state.shape))
    except RuntimeError as error:
        seen.append("RuntimeError")
        print(size, "RuntimeError:", str(error)[:100])
sys.exit(seen != ["features", "RuntimeError", "RuntimeError"])
END_PYTHON
