#!/bin/sh
# OpenCV's VideoCapture, set to a frame number, gives another picture without a message after a pause in a recording
# (variable frame rate: the number is turned into a time by the mean rate) and at the start of an MPEG-TS file, where
# set() to 0 goes to the second key frame. read() in order is right in both. Tools that are built on it, such as
# supervision's frame generator with a start, inherit it.
#
# Packages: opencv-python-headless 5.0.0.93, imageio-ffmpeg 0.6.0 (brings ffmpeg), av 18.1.0 (reads in order).
# Expected: set(CAP_PROP_POS_FRAMES, n), then read(), is the n-th picture. Seen: so in plain.mp4 alone; exit code 1 if
# that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --target "$folder/packages" opencv-python-headless==5.0.0.93 numpy==2.4.6 imageio-ffmpeg==0.6.0 av==18.1.0
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import subprocess
import sys

import av
import cv2
import imageio_ffmpeg
import numpy as np

assert "/packages/" in cv2.__file__, cv2.__file__
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
pause = ["-vf", "select=not(between(n\\,20\\,49))", "-fps_mode", "vfr"]
ffmpeg(*RAW, "-r", "25", "-i", "-", *h264, "plain.mp4", data=data)
ffmpeg(*RAW, "-r", "25", "-i", "-", *pause, *h264, "pause.mp4", data=data)
ffmpeg(*RAW, "-r", "25", "-i", "-", *h264, "stream.ts", data=data)
right = {}
for name in ("plain.mp4", "pause.mp4", "stream.ts"):
    with av.open(name) as container:
        truth = [number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    capture = cv2.VideoCapture(name)
    order = [0, 1, 7, 40, 55, len(truth) - 1]
    got = []
    for index in order:
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        found, shown = capture.read()
        got.append(number(shown) if found else None)
    wanted = [truth[index] for index in order]
    right[name] = got == wanted
    print(f"{name}: pictures {wanted}, OpenCV {cv2.__version__} gives {got}")
sys.exit(right != {"plain.mp4": True, "pause.mp4": False, "stream.ts": False})
END_PYTHON
