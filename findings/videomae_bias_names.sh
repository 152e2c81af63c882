#!/bin/sh
# transformers 5 writes VideoMAE's biases of queries and values under other names than the model's own state dict has:
# `query.bias` becomes `q_bias`, `value.bias` becomes `v_bias`. Code that reads a saved file's keys and code that reads
# state_dict() of the same model therefore meet two formats of one version; a loader that knows one of them leaves the
# biases at zero. Nothing is said.
#
# Package: transformers 5.23.0. PYTHON has to be an interpreter with torch, safetensors and what transformers imports.
# Seen: 2 names in the file that the state dict has not, 2 the other way; exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/packages" transformers==5.23.0
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END'
import sys

import transformers
from safetensors import safe_open

assert "/packages/" in transformers.__file__, transformers.__file__
config = transformers.VideoMAEConfig(
    image_size=32, num_frames=4, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=16
)
model = transformers.VideoMAEModel(config)
model.save_pretrained("saved")
with safe_open("saved/model.safetensors", "pt") as file:
    in_file = set(file.keys())
in_model = set(model.state_dict())
print("in the file alone:      ", sorted(in_file - in_model))
print("in the state dict alone:", sorted(in_model - in_file))
ends = sorted(key.rsplit("attention.", 1)[-1] for key in in_file ^ in_model)
sys.exit(ends != ["q_bias", "query.bias", "v_bias", "value.bias"])
END
