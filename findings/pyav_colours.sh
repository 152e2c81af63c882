#!/bin/sh
# The same file gives other colours with another release of PyAV. Up to 16 to_ndarray(format="rgb24") takes every video
# for BT.601; from 17 on it follows the file's tag. In a BT.709 file, as nearly all HD video is, a green of (30, 180, 60)
# reads about (41, 202, 62) before and (29, 179, 58) since, without a message. Networks trained on pictures of the one
# and used on pictures of the other see a shift of colour of up to 22 grey levels.
#
# Packages: av 16.1.0 and av 17.0.0, numpy 2.4.6, imageio-ffmpeg 0.6.0 (brings ffmpeg).
# Expected: both within 4 grey levels of what was written. Seen: so in BT.601; in BT.709 with 17.0.0 alone; exit code 1
# if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --target "$folder/packages" numpy==2.4.6 imageio-ffmpeg==0.6.0
for version in 16.1.0 17.0.0; do
    "$python" -m pip install --quiet --no-deps --target "$folder/av-$version" "av==$version"
done
cd "$folder"
cat > write.py <<'END_PYTHON'
import subprocess

import imageio_ffmpeg
import numpy as np

picture = np.tile(np.uint8([30, 180, 60]), (64, 64, 1)).tobytes()
for name, matrix in (("bt601", "smpte170m"), ("bt709", "bt709")):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x64"]
    command += ["-r", "25", "-i", "-", "-vf", f"scale=out_color_matrix={name}:out_range=tv", "-c:v", "libx264"]
    command += ["-qp", "1", "-pix_fmt", "yuv420p", "-colorspace", matrix, "-color_range", "tv", f"{name}.mp4"]
    subprocess.run(command, input=5 * picture, check=True)
END_PYTHON
cat > read.py <<'END_PYTHON'
import sys

import av
import numpy as np

assert "/av-" in av.__file__, av.__file__
for name in ("bt601", "bt709"):
    with av.open(f"{name}.mp4") as container:
        colour = next(container.decode(video=0)).to_ndarray(format="rgb24")[32, 32]
    near = np.abs(colour.astype(int) - (30, 180, 60)).max() <= 4
    print(f"av {av.__version__}, {name}: {tuple(int(value) for value in colour)}", file=sys.stderr)
    print("right" if near else "other", end=" ")
END_PYTHON
PYTHONPATH="$folder/packages" "$python" write.py
seen=""
for version in 16.1.0 17.0.0; do
    seen="$seen$(PYTHONPATH="$folder/av-$version:$folder/packages" "$python" read.py)"
done
[ "$seen" = "right other right right " ]
