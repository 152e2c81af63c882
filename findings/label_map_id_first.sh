#!/bin/sh
# A label map whose entries have the id before the name (as TensorFlow's tools write them) is read by pytorchvideo with
# all names moved by one: each id gets the name of the entry before. ActivityNet's evaluator and the loaders that were
# written after it go through the lines in the same way. Nothing is said; the ids, and so every mAP, stay right.
#
# Package: pytorchvideo 0.1.5, its last release. PYTHON has to be an interpreter with torch, fvcore, iopath and av.
# Seen: {1: 'sit', 2: 'stand'} with the name first, {1: '', 2: 'sit'} with the id first; exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/packages" pytorchvideo==0.1.5
cat > "$folder/name_first.pbtxt" <<'END'
item {
  name: "sit"
  id: 1
}
item {
  name: "stand"
  id: 2
}
END
cat > "$folder/id_first.pbtxt" <<'END'
item {
  id: 1
  name: "sit"
}
item {
  id: 2
  name: "stand"
}
END
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END'
import sys

import pytorchvideo
from pytorchvideo.data.ava import AvaLabeledVideoFramePaths

assert "/packages/" in pytorchvideo.__file__, pytorchvideo.__file__
seen = [AvaLabeledVideoFramePaths.read_label_map(f"{name}.pbtxt")[0] for name in ("name_first", "id_first")]
print("name first:", seen[0])
print("id first:  ", seen[1])
sys.exit(seen != [{1: "sit", 2: "stand"}, {1: "", 2: "sit"}])
END
