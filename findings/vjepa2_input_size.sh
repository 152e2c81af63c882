#!/bin/sh
# V-JEPA 2 has rotary positions, nothing learned, and accepts pictures of any size. transformers counts rows and columns
# on the grid of the config's `crop_size` instead of the grid of the picture. At another size tokens get the rows and
# columns of other places, without a message: a model whose `crop_size` is the size of its input gives other features
# with the same weights. Set `crop_size` (square) to the size that is used.
#
# Package: transformers 5.23.0. PYTHON has to be an interpreter with torch and what transformers imports.
# Expected: the same features from both models at 96 pixels. Seen: a relative difference of more than 10 %; exit code 1
# if that changes.
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


def build(crop_size):
    sizes = {"hidden_size": 48, "num_attention_heads": 2, "num_hidden_layers": 2, "pred_hidden_size": 48}
    sizes |= {"pred_num_attention_heads": 2, "pred_num_hidden_layers": 1, "patch_size": 16, "frames_per_clip": 4}
    return transformers.VJEPA2Model(transformers.VJEPA2Config(crop_size=crop_size, **sizes)).eval()


def features(model, clip):
    with torch.no_grad():
        return model(pixel_values_videos=clip, skip_predictor=True).last_hidden_state


torch.manual_seed(0)
small, large = build(64), build(96)
with torch.no_grad():
    for name, weight in small.named_parameters():
        # Attention that looks somewhere, as in a trained model; freshly made it is nearly even.
        if "attention" in name and name.endswith("weight"):
            weight.normal_(0, 0.5)
large.load_state_dict(small.state_dict())
differences = {}
for side in (64, 96):
    clip = torch.randn(1, 4, 3, side, side)
    other, right = (small, large) if side == 96 else (large, small)
    right = features(right, clip)
    differences[side] = float((features(other, clip) - right).norm() / right.norm())
    print(f"{side} pixels: features differ by {100 * differences[side]:.1f} % between crop_size 64 and 96")
sys.exit(not all(difference > 0.1 for difference in differences.values()))
END_PYTHON
