"""Dense label rows for the tests of the file formats, drawn and fixed."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from mestad_d2.densify.formats.coco import VideoFacts
from mestad_d2.formats.ava_csv import AnnotationRow

NAMES = {1: "stand", 2: 'wave <b>&"x"</b>', 3: "wave <b>", 4: "müde\x07 sein"}
TIMES = np.arange(0, 100) / 25
VIDEO = VideoFacts('a,b "c" <d>', "folder/a.mp4", 128, 161, 10.0, TIMES)


@st.composite
def label_rows(draw: st.DrawFn) -> list[AnnotationRow]:
    """Rows of one video: several people, frames and actions, key frames without confidence."""
    rows = {}
    for _ in range(draw(st.integers(1, 25))):
        frame = draw(st.integers(0, 99))
        x1, y1 = (draw(st.integers(0, 9000)) for _ in range(2))
        x2, y2 = (draw(st.integers(low + 10, 10000)) for low in (x1, y1))
        key = frame % 25 == 0
        text = f"{10 + frame // 25:04d}" if key else f"{10 + frame / 25:.6f}"
        sure = None if key else draw(st.integers(0, 10000)) / 10000
        person, action = draw(st.integers(-1, 3)), draw(st.integers(1, 6))
        box = tuple(v / 10000 for v in (x1, y1, x2, y2))
        row = AnnotationRow(VIDEO.video_id, text, box, action, person, sure)
        rows[(text, box, action, person)] = row
    return list(rows.values())


def some_rows() -> list[AnnotationRow]:
    """Two people; the second is out of view in between and behind a gap in the labels."""
    box, other = (0.1, 0.2, 0.3, 0.6), (0.5, 0.2, 0.7, 0.6)
    stamps = [f"{10 + frame / 25:.6f}" for frame in (0, 5, 10, 15, 80)]
    rows = [
        AnnotationRow(VIDEO.video_id, stamp, box, action, 0, 0.5) for stamp in stamps for action in (1, 2)
    ]
    return rows + [AnnotationRow(VIDEO.video_id, stamps[i], other, 3, 1, 0.25) for i in (0, 1, 3)]
