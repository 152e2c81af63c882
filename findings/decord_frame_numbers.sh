#!/bin/sh
# decord, the reader that mmaction2 and many data loaders of this field take by default, gives other frames than those
# asked for, without a message, in three common kinds of file: MPEG-TS (every index is off by the frames up to the
# second key frame), a clip cut without re-encoding (its length counts a frame that the edit list hides, and
# later indices are off by one), and MPEG-4 AVI with B-frames (some frames after a seek). Labels by frame number then belong
# to other pictures. In plain MP4 it was right.
#
# Packages: decord 0.6.0 (its last release), numpy 2.4.6, imageio-ffmpeg 0.6.0 (brings ffmpeg), av 18.1.0 (reads in order).
# Expected: vr[n] is the n-th picture that a reader in order meets. Seen: so in plain.mp4 alone; exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --target "$folder/packages" decord==0.6.0 numpy==2.4.6 imageio-ffmpeg==0.6.0 av==18.1.0
cd "$folder"
PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import subprocess
import sys

import av
import decord
import imageio_ffmpeg
import numpy as np

assert "/packages/" in decord.__file__, decord.__file__
decord.logging.set_level(decord.logging.QUIET)
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
ffmpeg(*RAW, "-r", "25", "-i", "-", *h264, "stream.ts", data=data)
ffmpeg("-ss", "1.3", "-i", "plain.mp4", "-c", "copy", "cut.mp4")
ffmpeg(*RAW, "-r", "25", "-i", "-", "-c:v", "mpeg4", "-bf", "2", "-g", "25", "-q:v", "2", "b_frames.avi", data=data)
right = {}
for name in ("plain.mp4", "stream.ts", "cut.mp4", "b_frames.avi"):
    with av.open(name) as container:
        truth = [number(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    reader = decord.VideoReader(name)
    order = [40, 0, 7, 55, 26, len(truth) - 1]
    got = [number(reader[index].asnumpy()) for index in order]
    wanted = [truth[index] for index in order]
    right[name] = got == wanted and len(reader) == len(truth)
    print(f"{name}: {len(truth)} frames, decord counts {len(reader)}; pictures {wanted}, decord gives {got}")
sys.exit(right != {"plain.mp4": True, "stream.ts": False, "cut.mp4": False, "b_frames.avi": False})
END_PYTHON
