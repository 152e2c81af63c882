"""Damaged files for every parser: ``python mutants.py PARSER|all SEED COUNT FOLDER``, under a memory limit.

Prints ``PARSER READ REFUSED GROWTH SLOWEST`` (KB of resident memory, seconds). Ends with an error, and leaves the
input in FOLDER, where a parser raises anything but a line that names the file, or takes too long.
"""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import resource
import signal
import struct
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from data.importers import exports
from scipy.io import savemat

from mestad_d2.checkpoint.read import read_checkpoint
from mestad_d2.data.importers.files import Sizes, read_labels
from mestad_d2.data.per_video import read_values
from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.densify.formats.coco import VideoFacts, write_coco
from mestad_d2.densify.formats.cvat import write_cvat
from mestad_d2.densify.formats.outputs import read_corrected
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import AnnotationRow, read_exclusions, read_ground_truth
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.formats.tubes.csv_files import TubeDataset, read_dataset, read_tubelets
from mestad_d2.formats.tubes.detections import read_detections
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.formats.tubes.records import VideoInfo
from mestad_d2.load_config import setup_cfg
from mestad_d2.video.frame_list import read_frame_list

ROOT = Path(__file__).resolve().parents[3]
# More address space than the process has when it starts, in bytes, and the longest time of an input, in s of CPU.
MEMORY, SECONDS = 1 << 30, 5.0
NASTY = [
    b"", b"-1", b"0", b"1e999", b"nan", b"inf", b"9" * 30, b"x", b"null", b"[]", b"{}", b'"', b",", b"\n", b"\r",
    b"\x00", b"\xff", b"../../a", b" " * 2000, b"\xe2\x80\xa8", b"'" * 40, b"<", b"&a;", b"1_0", b"0x10", b"true",
]  # fmt: skip


@dataclass
class Parser:
    """Ending of the files, how to read one, honest files, how one is changed, and files that lie beside them."""

    suffix: str
    read: Callable[[Path], object]
    honest: list[bytes]
    change: Callable[[random.Random, list[bytes]], bytes] | None = None
    others: dict[str, str] = field(default_factory=dict)


def changed(rng: random.Random, honest: list[bytes]) -> bytes:
    """A file with one to five bytes or words changed, left out, doubled, or replaced by the end of another file."""
    data = rng.choice(honest)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        kind, at = rng.randrange(6), rng.randrange(len(data)) if data else 0
        if kind == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + rng.randint(1, 8) :]
        elif kind == 2:
            data = data[:at] + data[at : at + rng.randint(1, 40)] * rng.choice([2, 2, 100]) + data[at:]
        elif kind == 3:
            other = rng.choice(honest)
            data = data[:at] + other[rng.randrange(len(other)) :]
        else:
            words = re.split(rb"(\W)", data)
            words[rng.randrange(len(words))] = rng.choice(NASTY)
            data = b"".join(words)
    return data


def changed_zip(rng: random.Random, honest: list[bytes]) -> bytes:
    """An archive with one member changed and packed again, so that its sums are right; or changed as it is."""
    if rng.random() < 0.3:
        return changed(rng, honest)
    with zipfile.ZipFile(io.BytesIO(rng.choice(honest))) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    place = rng.randrange(len(members))
    if rng.random() < 0.5:
        place = next((i for i, (name, _) in enumerate(members) if name.endswith("data.pkl")), place)
    members[place] = members[place][0], changed(rng, [members[place][1] or b"0"])
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return packed.getvalue()


def changed_safetensors(rng: random.Random, honest: list[bytes]) -> bytes:
    """A file with a changed header of the length that it says; or changed as it is."""
    data = rng.choice(honest)
    if rng.random() < 0.3:
        return changed(rng, honest)
    length = struct.unpack("<Q", data[:8])[0]
    header = changed(rng, [data[8 : 8 + length]])
    return struct.pack("<Q", len(header)) + header + data[8 + length :]


def exported(name: str) -> list[bytes]:
    """Files of an annotation tool."""
    path = Path(sys.argv[4]) / f"export of {name}"
    people = {1: {0: ((10.0, 20.0, 30.0, 70.0), ("sit",)), 20: ((10.0, 20.0, 30.0, 70.0), ("walk", "sit"))}}
    getattr(exports, name)(path, people)
    return [(path / "gt" / "gt.txt" if path.is_dir() else path).read_bytes()]


def torch_file(zipped: bool) -> bytes:
    """A checkpoint of torch, as this project and as trainers of others write it."""
    content = {
        "model": {"backbone.w": torch.arange(6.0).reshape(2, 3), "n": torch.tensor(3)},
        "iteration": 7, "optimizer": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "cfg": "MODEL: {}", "array": np.arange(4.0), "list": [1, (2.5, None)],
    }  # fmt: skip
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def safetensors_file() -> bytes:
    """Two tensors and metadata."""
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        "b": {"dtype": "I64", "shape": [1], "data_offsets": [16, 24]},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(24)


def tube_pickles() -> tuple[list[bytes], list[bytes]]:
    """Ground truth in both layouts, and detections in both of MultiSports'."""
    boxes = np.array([[20, 12, 99, 111], [21, 12, 99, 110], [22, 12, 98, 110]], np.uint8)
    rows = np.column_stack([[3, 4, 5], boxes]).astype(np.float32)
    act = {
        "labels": ["a", "b", "c"], "train_videos": [["v"]], "test_videos": [["w"]],
        "nframes": {"v": 12, "w": 12}, "resolution": {"v": (240, 320), "w": (240, 320)},
        "gttubes": {"v": {2: [rows]}, "w": {1: [rows, rows + 1]}},
    }  # fmt: skip
    tube = {"label": 1, "sf": np.uint8(2), "ef": np.uint8(5), "boxes": boxes}
    pyannot = {name: {"numf": 12, "label": 1, "annotations": [tube]} for name in ("v", "w")}
    frames = np.column_stack([[0, 1, 1], [3, 4, 5], [0, 1, 1], [0.5, 0.6, 0.7], rows[:, 1:]])
    tubes = {1: [("w", 0.9, np.column_stack([rows, [0.9, 0.8, 0.7]]))]}
    truth = [pickle.dumps(content, protocol) for content in (act, pyannot) for protocol in (2, 4)]
    return truth, [pickle.dumps(content, protocol) for content in (frames, tubes) for protocol in (2, 4)]


def mat_file() -> bytes:
    """Two videos of UCF101-24's finalAnnots.mat."""
    tube = np.zeros((1, 1), dtype=[("ef", "i4"), ("sf", "i4"), ("class", "i4"), ("boxes", "O")])
    tube[0, 0] = (5, 3, 1, np.array([[20, 12, 99, 111]] * 3, np.uint8))
    annot = np.zeros((1, 2), dtype=[("name", "O"), ("num_imgs", "O"), ("tubes", "O")])
    annot[0, 0], annot[0, 1] = ("A/v", 12, tube), ("B/w", 9, tube)
    file = io.BytesIO()
    savemat(file, {"annot": annot})
    return file.getvalue()


def corrected(suffix: str) -> list[bytes]:
    """Dense labels as they are uploaded to annotation tools."""
    path = Path(sys.argv[4]) / f"written.{suffix}"
    if suffix == "json":
        write_coco(path, [VIDEO], BEFORE, {1: "sit"})
    else:
        write_cvat(path, VIDEO, BEFORE, {1: "sit"})
        exports.cvat_images(other := path.with_name("images.xml"), {1: {0: ((16, 8, 64, 48), ("sit",))}})
        return [path.read_bytes(), other.read_bytes()]
    return [path.read_bytes()]


def read_back(path: Path) -> object:
    """Read corrections of a video that is called as the file."""
    before = [replace(row, video_id=path.stem) for row in BEFORE]
    return read_corrected(path, {path.stem: replace(VIDEO, video_id=path.stem)}, before, {1: "sit"})


VIDEO = VideoFacts("input", "input.mp4", 64, 160, 0.0, np.arange(45) / 20)
BEFORE = [
    AnnotationRow("input", time, (0.1, 0.125, 0.4, 0.75), 1, 0, sure)
    for time, sure in (("0", None), ("1", 0.5))
]
COCO_BOXES = {"image_id": "v,0902", "category_id": 1, "bbox": [0.1, 0.2, 0.4, 0.7], "score": 0.99}
COCO_FILE = {
    "images": [{"id": 7, "file_name": "v/0903.jpg", "width": 320, "height": 240}],
    "annotations": [{**COCO_BOXES, "image_id": 7, "bbox": [10, 20, 100, 200]}],
    "categories": [{"id": 1, "name": "person"}],
}
TUBES = TubeDataset(("a", "b", "c"), (VideoInfo("v", 12, 240, 320), VideoInfo("w", 12, 240, 320)))
ROWS = "v,0902,0.1,0.2,0.5,0.9,12,3\nv,0903,0.1,0.2,0.5,0.9,1,3\nw,0902,0.1,0.2,0.5,0.9,12,\nw,0904,,,,,,\n"
TUBE_ROWS = "video,class,tube,frame,x1,y1,x2,y2,score\nv,1,1,3,1,2,30,40,0.5\nv,1,1,4,1,2,30,40,0.5\n"
TUBELETS = "video,start,class,tubelet,score,k,x1,y1,x2,y2\nv,3,1,0,0.5,0,1,2,30,40\nv,3,1,0,0.5,1,1,2,30,40\n"
FRAMES = "video,frame,class,score,x1,y1,x2,y2\nv,3,1,0.5,1,2,30,40\nw,4,0,0.25,1,2,30,40\n"
PBTXT = 'item {\n  name: "sit"\n  id: 1\n}\nitem {\n  name: "walk \\"fast\\""\n  id: 12\n}\n'
BASE = "MODEL:\n  META_ARCHITECTURE: MESTAD\n  FPN:\n    OUT_CHANNELS: 32\nDATASETS:\n  TRAIN: [toy_train]\nVERSION: 2\n"
LABELS = 'label {\n  name: "sit"\n  label_id: 1\n  label_type: PERSON_MOVEMENT\n}\n'


def parsers() -> dict[str, Callable[[], Parser]]:
    """All parsers by name."""
    truth, found = tube_pickles()
    labels = Sizes((200.0, 100.0))
    forms = {
        "cvat": ("xml", ["cvat_video", "cvat_images"]), "label studio": ("json", ["label_studio"]),
        "coco": ("json", ["coco", "youtube_vis"]), "via": ("csv", ["via"]), "vatic": ("txt", ["vatic"]),
        "mot": ("txt", ["mot"]),
    }  # fmt: skip
    found_in = {
        f"labels of {name}": lambda suffix=suffix, names=names: Parser(
            suffix, lambda path: read_labels(path, None, labels), [d for n in names for d in exported(n)]
        )
        for name, (suffix, names) in forms.items()
    }
    boxes = {"v,0902": np.array([[0.1, 0.2, 0.5, 0.9, 0.99]]), "w,0903": np.zeros((0, 5))}
    config = (ROOT / "configs" / "toy" / "SlowOnly_tiny_TLA.yaml").read_text()
    return found_in | {
        "training csv": lambda: Parser("csv", read_ground_truth, [ROWS.encode()]),
        "exclusions": lambda: Parser("csv", read_exclusions, [b"v,0902\nw,0903\n"]),
        "values of videos": lambda: Parser("csv", lambda p: read_values(str(p)), [b"v,25\nw,29.97\n"]),
        "label map": lambda: Parser(
            "pbtxt", read_label_map, [PBTXT.encode(), LABELS.encode(), b"sit\nwalk\n", b"1: sit\n2: walk\n",
                                      b'{"sit": 1, "walk": 2}', b"id,name\n1,sit\n2,walk\n"]
        ),
        "person boxes, csv": lambda: Parser("csv", read_person_boxes, [b"v,0902,0.1,0.2,0.5,0.9,0.99\n"]),
        "person boxes, pickle": lambda: Parser(
            "pkl", read_person_boxes, [pickle.dumps(boxes, protocol) for protocol in (0, 2, 4)]
        ),
        "person boxes, json": lambda: Parser(
            "json", read_person_boxes, [json.dumps(content).encode() for content in ([COCO_BOXES], COCO_FILE)]
        ),
        **{
            f"corrections, {suffix}": lambda suffix=suffix: Parser(
                suffix, read_back, corrected(suffix)
            )
            for suffix in ("json", "xml")
        },
        "tubes, csv": lambda: Parser(
            "csv", lambda p: read_detections(p, TUBES), [s.encode() for s in (TUBE_ROWS, FRAMES, TUBELETS)]
        ),
        "tubelets, csv": lambda: Parser("csv", read_tubelets, [TUBELETS.encode()]),
        "tubes, pickle": lambda: Parser("pkl", lambda p: read_detections(p, TUBES), found),
        "ground-truth tubes": lambda: Parser("pkl", lambda p: read_truth(p, TUBES), truth),
        "ground-truth tubes, mat": lambda: Parser("mat", read_truth, [mat_file()]),
        "tube dataset": lambda: Parser(
            "json", read_dataset, [b'{"classes": ["a"], "videos": [{"name": "v", "nframes": 9}]}']
        ),
        "frame list": lambda: Parser(
            "csv", lambda p: read_frame_list(p, p.parent),
            [b'original_vido_id video_id frame_id path labels\nv 0 0 v/v_000001.jpg ""\nv 0 1 v/v_000002.jpg ""\n'],
        ),
        "checkpoint, zip": lambda: Parser("pth", read_checkpoint, [torch_file(True)], changed_zip),
        "checkpoint, before 1.6": lambda: Parser("pth", read_checkpoint, [torch_file(False)]),
        "safetensors": lambda: Parser("safetensors", read_checkpoint, [safetensors_file()], changed_safetensors),
        # Most of the time of a config with its whole chain goes to files that are not damaged.
        "config": lambda: Parser("yaml", setup_cfg, [config.encode()], others={"SlowOnly_tiny.yaml": BASE}),
    }  # fmt: skip


class TooLong(Exception):
    """A parser takes too long."""


def _too_long(number: int, frame: object) -> None:
    raise TooLong(f"more than {SECONDS:g} s")


def resident() -> int:
    """Most resident memory so far, in KB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def read_all(name: str, seed: int, count: int, folder: Path) -> None:
    """Let a parser read ``count`` mutants, and print what became of them."""
    parser = parsers()[name]()
    for file, text in parser.others.items():
        (folder / file).write_text(text)
    for number, data in enumerate(parser.honest):
        path = folder / f"honest{number}.{parser.suffix}"
        path.write_bytes(data)
        parser.read(path)
    path, rng = folder / f"input.{parser.suffix}", random.Random(seed)
    before, read, slowest = resident(), 0, 0.0
    for _ in range(count):
        path.write_bytes((parser.change or changed)(rng, parser.honest))
        began = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            parser.read(path)
            read += 1
        except UserError as error:
            said = str(error)
            # A value of a config may be that of an option, so its key is named.
            named = folder.name in said or (name == "config" and re.match(r"[A-Z_]+\.[A-Z_.]+\b", said))
            assert named and "\n" not in said and len(said) < 10_000, said
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        slowest = max(slowest, time.process_time() - began)
    print(f"{name};{read};{count - read};{resident() - before};{slowest:.2f}", flush=True)


def main(name: str, *given: Any) -> None:
    """Run one parser, or with the name ``all`` every one, under the limits."""
    space = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (space + MEMORY,) * 2)
    signal.signal(signal.SIGVTALRM, _too_long)
    for each in parsers() if name == "all" else [name]:
        read_all(each, *given)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
