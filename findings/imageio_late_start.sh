#!/bin/sh
# imageio's pyav plugin, asked for one frame by index, counts from time 0 and not from the first frame. In a file whose
# picture starts later than its clock (here by one second, as where the sound starts first) frame n is the frame of one
# second earlier, and the first 25 numbers all give frame 0. Reading the whole file gives the right order. Nothing is
# said.
#
# Packages: imageio 2.38.1, av 18.1.0, imageio-ffmpeg 0.6.0 (brings ffmpeg).
# Expected: imread(index=n) equals imread(index=...)[n]. Seen: so in plain.mp4, 25 frames too early in late.mp4; exit
# code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --target "$folder/packages" imageio==2.38.1 numpy==2.4.6 imageio-ffmpeg==0.6.0 av==18.1.0 pillow==12.3.0
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import subprocess
import sys

import av
import imageio
import imageio.v3 as iio
import imageio_ffmpeg
import numpy as np

assert "/packages/" in imageio.__file__, imageio.__file__
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RAW = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "256x64"]


def ffmpeg(*arguments, data=None):
    command = [FFMPEG, "-v", "error", "-y", *arguments]
    subprocess.run(command, input=data, check=True)


def picture(number):
    """Eight fields, white where the bit of the number is set."""
    bits = [number >> bit & 1 for bit in range(8)]
    return np.repeat(np.repeat(np.uint8(bits) * 255, 32)[None, :, None], 64, 0).repeat(3, 2)


def number(shown):
    return sum((int(shown[20:44, bit * 32 + 10 : bit * 32 + 22].mean()) > 127) << bit for bit in range(8))


data = b"".join(picture(n).tobytes() for n in range(100))
h264 = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-bf", "3", "-g", "25"]
ffmpeg(*RAW, "-r", "25", "-i", "-", *h264, "plain.mp4", data=data)
ffmpeg("-itsoffset", "1.0", "-i", "plain.mp4", "-c", "copy", "late.mp4")
right = {}
for name in ("plain.mp4", "late.mp4"):
    with av.open(name) as container:
        truth = [number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    order = [0, 7, 26, 40, 99]
    got = [number(iio.imread(name, index=index, plugin="pyav")) for index in order]
    whole = [number(frame) for frame in iio.imread(name, plugin="pyav")]
    wanted = [truth[index] for index in order]
    right[name] = got == wanted
    print(f"{name}: pictures {wanted}, by index {got}, all at once right: {whole == truth}")
sys.exit(right != {"plain.mp4": True, "late.mp4": False})
END_PYTHON
