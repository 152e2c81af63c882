"""Sound goes beside the annotated picture, whatever its kind, and stays in step with it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.results.outputs import write_video
from mestad_d2.video.output.sound import AAC_RATES

RATE = 44100


def write_source(path: Path, picture: str, sound: str, late: int) -> None:
    """3 s of picture at 25 fps that begin ``late`` frames after 3 s of sound: silence, from 2 s on a tone."""
    time = np.arange(3 * RATE) / RATE
    tone = (np.sin(2 * np.pi * 440 * time) * 12000 * (time >= 2)).astype(np.int16)
    with av.open(str(path), "w") as out:
        video, audio = out.add_stream(picture, rate=25), out.add_stream(sound, rate=RATE)
        video.width, video.height, audio.layout = 160, 128, "mono"
        video.pix_fmt = "yuvj420p" if picture == "mjpeg" else "yuv420p"
        for number in range(75):
            frame = av.VideoFrame.from_ndarray(np.full((128, 160, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + late, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        convert = av.AudioResampler(format=audio.codec_context.format, layout="mono", rate=RATE)
        for start in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            for part in convert.resample(frame):
                out.mux(audio.encode(part))
        out.mux(audio.encode(None))


def onset(path: Path) -> float:
    """Time in s since the first frame of the picture at which the tone begins."""
    with av.open(str(path)) as container:
        first = next(container.decode(video=0)).time
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.abs(frame.to_ndarray().astype(np.float64).ravel())
            loud = loud / 32768 if frame.format.name.startswith("s16") else loud
            if loud.max() > 0.1:
                return frame.time + float((loud > 0.1).argmax()) / frame.sample_rate - first
    raise AssertionError("no tone")


@pytest.mark.parametrize(
    ("name", "picture", "sound", "late"),
    [
        ("copied.mp4", "libx264", "aac", 0),
        ("late_picture.mp4", "libx264", "aac", 25),
        ("pcm.avi", "mjpeg", "pcm_s16le", 0),
        ("late_pcm.mov", "libx264", "pcm_s16le", 25),
    ],
)
def test_the_tone_is_heard_when_it_was(
    tmp_path: Path, name: str, picture: str, sound: str, late: int
) -> None:
    write_source(tmp_path / name, picture, sound, late)
    write_video(tmp_path / "out.mp4", str(tmp_path / name), [], ActionNames(), 0.3)
    assert onset(tmp_path / name) == pytest.approx(2.0 - late / 25, abs=0.06)
    # An AAC frame, and the delay of its encoder, are 23 ms long.
    assert onset(tmp_path / "out.mp4") == pytest.approx(onset(tmp_path / name), abs=0.06)


def test_damaged_sound_does_not_stop_the_picture(tmp_path: Path) -> None:
    write_source(tmp_path / "v.avi", "mjpeg", "pcm_s16le", 0)
    data = bytearray((tmp_path / "v.avi").read_bytes())
    position = data.find(b"01wb", len(data) // 2)
    data[position : position + 4000] = bytes(4000)
    (tmp_path / "v.avi").write_bytes(data)
    write_video(tmp_path / "out.mp4", str(tmp_path / "v.avi"), [], ActionNames(), 0.3)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) > 0


@pytest.mark.parametrize("rate", [11024, 22000, 192000, 8000, 5000])
def test_sound_at_rates_that_aac_has_not(tmp_path: Path, rate: int) -> None:
    """Cameras write PCM at 11024 Hz; each becomes the next rate of AAC, as long as before."""
    path = tmp_path / "v.avi"
    with av.open(str(path), "w") as out:
        video, audio = out.add_stream("mjpeg", rate=25), out.add_stream("pcm_s16le", rate=rate)
        video.width, video.height, video.pix_fmt, audio.layout = 160, 128, "yuvj420p", "mono"
        for number in range(50):
            frame = av.VideoFrame.from_ndarray(np.full((128, 160, 3), number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        tone = (np.sin(np.arange(2 * rate) / 10) * 9000).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        out.mux(audio.encode(frame))
        for stream in (video, audio):
            out.mux(stream.encode(None))
    write_video(tmp_path / "out.mp4", str(path), [], ActionNames(), 0.3)
    with av.open(str(tmp_path / "out.mp4")) as file:
        frames = list(file.decode(audio=0))
    assert frames[0].sample_rate in AAC_RATES and frames[0].sample_rate >= min(rate, 96000)
    assert sum(frame.samples / frame.sample_rate for frame in frames) == pytest.approx(2.0, abs=0.3)
