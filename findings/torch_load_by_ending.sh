#!/bin/sh
# torch.load decides by the path's ending: a file of torch.save that is called *.safetensors is handed to safetensors and
# fails ("header too large"), although the same bytes under another name, or through an open file, load. Files are often
# renamed to what a download page or a tool expects.
#
# Package: torch 2.14.1 (too large to install here: PYTHON has to be an interpreter that has it, and safetensors).
# Seen: loads as weights.bin and through open(); SafetensorError as weights.safetensors; exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$python" -W ignore - <<'END'
import sys

import torch

print("torch", torch.__version__)
torch.save({"a": torch.ones(2)}, "weights.bin")
torch.save({"a": torch.ones(2)}, "weights.safetensors")


def seen(path, opened=False):
    try:
        with open(path, "rb") as file:
            return list(torch.load(file if opened else path, weights_only=True))
    except Exception as error:
        return type(error).__name__


found = [seen("weights.bin"), seen("weights.safetensors", opened=True), seen("weights.safetensors")]
print("bin:", found[0], "| safetensors, opened:", found[1], "| safetensors, by path:", found[2])
sys.exit(found != [["a"], ["a"], "SafetensorError"])
END
