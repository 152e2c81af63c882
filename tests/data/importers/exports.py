"""Files as the annotation tools export them, written without any code of the package."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

Box = tuple[float, float, float, float]
WIDTH, HEIGHT, FPS, FRAMES = 200, 100, 10, 41
ACTIONS = ("sit", "walk", "wave, twice")
# Person -> frame -> (box in pixels x1, y1, x2, y2; actions).
People = dict[int, dict[int, tuple[Box, tuple[str, ...]]]]


def cvat_video(path: Path, people: People, head: str = "", keyframes_only: bool = True) -> None:
    """Tick boxes on one label; a person who is gone on the next frame is outside there."""
    ticks = "".join(
        f"<attribute><name>{a}</name><mutable>True</mutable><input_type>checkbox</input_type>"
        f"<default_value>false</default_value><values>false</values></attribute>" for a in ACTIONS
    )  # fmt: skip
    head = head or (
        f"<task><id>1</id><name>t</name><size>{FRAMES}</size><mode>interpolation</mode><start_frame>0</start_frame>"
        f"<stop_frame>{FRAMES - 1}</stop_frame><frame_filter></frame_filter><labels><label><name>person</name><attributes>"
        f"{ticks}</attributes></label></labels><original_size><width>{WIDTH}</width><height>{HEIGHT}</height>"
        "</original_size><source>a.b.mp4</source></task>"
    )
    tracks = []
    for person, frames in people.items():
        boxes = []
        for frame, (box, actions) in sorted(frames.items()):
            boxes.append(_cvat_box(frame, box, actions, outside=False))
            if frame + 1 not in frames and frame + 1 < FRAMES:
                boxes.append(_cvat_box(frame + 1, box, actions, outside=True))
        tracks.append(f'<track id="{person}" label="person" source="manual">{"".join(boxes)}</track>')
    path.write_text(f"<annotations><version>1.1</version><meta>{head}</meta>{''.join(tracks)}</annotations>")


def _cvat_box(frame: int, box: Box, actions: tuple[str, ...], outside: bool) -> str:
    ticks = "".join(f'<attribute name="{a}">{str(a in actions).lower()}</attribute>' for a in ACTIONS)
    sides = " ".join(f'{n}="{v}"' for n, v in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True))
    return f'<box frame="{frame}" keyframe="1" outside="{int(outside)}" occluded="0" {sides} z_order="0">{ticks}</box>'


def by_frame(people: People) -> dict[int, list[tuple[int, Box, tuple[str, ...]]]]:
    """Frame -> (person, box, actions)."""
    frames: dict[int, list] = {}
    for person, shown in people.items():
        for frame, (box, actions) in shown.items():
            frames.setdefault(frame, []).append((person, box, actions))
    return frames


def cvat_images(path: Path, people: People) -> None:
    """The same as pictures of a video; every frame is listed, also without boxes."""
    frames, images = by_frame(people), []
    for frame in range(FRAMES):
        boxes = []
        for person, box, actions in frames.get(frame, []):
            sides = " ".join(f'{n}="{v}"' for n, v in zip(("xtl", "ytl", "xbr", "ybr"), box, strict=True))
            said = "".join(f'<attribute name="{a}">{str(a in actions).lower()}</attribute>' for a in ACTIONS)
            boxes.append(
                f'<box label="person" {sides}><attribute name="person_id">{person}</attribute>{said}</box>'
            )
        images.append(
            f'<image id="{frame}" name="frame_{frame:06d}" width="{WIDTH}" height="{HEIGHT}">{"".join(boxes)}</image>'
        )
    meta = "<meta><task><source>a.b.mp4</source></task></meta>"
    path.write_text(f"<annotations><version>1.1</version>{meta}{''.join(images)}</annotations>")


def label_studio(path: Path, people: People) -> None:
    """A region a person and stretch of equal actions; frames from 1, percent, time = frame / rate."""
    regions = []
    for person, shown in people.items():
        runs: dict[tuple[str, ...], list] = {}
        for frame, (box, actions) in sorted(shown.items()):
            x1, y1, x2, y2 = box
            runs.setdefault(actions, []).append(
                {"frame": frame + 1, "enabled": False, "rotation": 0, "x": x1 / WIDTH * 100, "y": y1 / HEIGHT * 100,
                 "width": (x2 - x1) / WIDTH * 100, "height": (y2 - y1) / HEIGHT * 100, "time": (frame + 1) / FPS}
            )  # fmt: skip
        for number, (actions, sequence) in enumerate(runs.items()):
            value = {
                "framesCount": FRAMES,
                "duration": FRAMES / FPS,
                "sequence": sequence,
                "labels": list(actions),
            }
            regions.append(
                {
                    "id": f"r{person}_{number}",
                    "type": "videorectangle",
                    "value": value,
                    "from_name": "box",
                    "to_name": "video",
                }
            )
    task = {
        "id": 3,
        "data": {"video": "/data/upload/1/0123abcd-a.b.mp4"},
        "annotations": [{"result": regions}],
    }
    path.write_text(json.dumps([task]))


def via(path: Path, people: People) -> None:
    """A rectangle a row; tick boxes with numbered options."""
    options = {str(i): name for i, name in enumerate(ACTIONS)}
    attributes = {
        "1": {"aname": "action", "type": 2, "options": options},
        "2": {"aname": "person_id", "type": 1},
    }
    stream = io.StringIO()
    stream.write("# Exported using VGG Image Annotator\n# ATTRIBUTE = " + json.dumps(attributes) + "\n")
    stream.write(
        "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
    )
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    for frame, boxes in sorted(by_frame(people).items()):
        for person, (x1, y1, x2, y2), actions in boxes:
            said = {"1": ",".join(str(ACTIONS.index(a)) for a in actions), "2": str(person)}
            rectangle = [2, x1, y1, x2 - x1, y2 - y1]
            fields = (
                json.dumps(["a.b.mp4"]),
                0,
                json.dumps([frame / FPS]),
                json.dumps(rectangle),
                json.dumps(said),
            )
            writer.writerow([f"1_{person}_{frame}", *fields])
    path.write_text(stream.getvalue())


def coco(path: Path, people: People) -> None:
    """Images of a video and an annotation an action."""
    frames, annotations = by_frame(people), []
    for frame, boxes in frames.items():
        for person, (x1, y1, x2, y2), actions in boxes:
            annotations += [
                {"id": len(annotations) + i, "image_id": frame, "category_id": ACTIONS.index(a) + 1, "track_id": person,
                 "bbox": [x1, y1, x2 - x1, y2 - y1]} for i, a in enumerate(actions)
            ]  # fmt: skip
    content = {
        "videos": [{"id": 1, "file_name": "a.b.mp4", "fps": FPS}],
        "images": [
            {"id": f, "video_id": 1, "frame_id": f, "width": WIDTH, "height": HEIGHT} for f in range(FRAMES)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(ACTIONS, 1)],
    }
    path.write_text(json.dumps(content))


def youtube_vis(path: Path, people: People) -> None:
    """An annotation a person and action, with a box or null for every frame."""
    annotations = []
    for shown in people.values():
        for action in ACTIONS:
            boxes = [shown[f][0] if f in shown and action in shown[f][1] else None for f in range(FRAMES)]
            corners = [b and [b[0], b[1], b[2] - b[0], b[3] - b[1]] for b in boxes]
            if any(corners):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "video_id": 7,
                        "category_id": ACTIONS.index(action) + 1,
                        "bboxes": corners,
                    }
                )
    names = [f"a.b/img_{f + 1:07d}.jpg" for f in range(FRAMES)]
    content = {
        "videos": [{"id": 7, "width": WIDTH, "height": HEIGHT, "length": FRAMES, "file_names": names}],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(ACTIONS, 1)],
    }
    path.write_text(json.dumps(content))


def mot(path: Path, people: People) -> None:
    """A line a person and action; the class is the action."""
    folder = path / "gt"
    folder.mkdir(parents=True)
    (path / "seqinfo.ini").write_text(
        f"[Sequence]\nname=a.b\nframeRate={FPS}\nseqLength={FRAMES}\nimWidth={WIDTH}\nimHeight={HEIGHT}\n"
    )
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in ACTIONS))
    lines = []
    for person, shown in people.items():
        for frame, ((x1, y1, x2, y2), actions) in shown.items():
            lines += [
                f"{frame + 1},{person},{x1},{y1},{x2 - x1},{y2 - y1},1,{ACTIONS.index(a) + 1},1"
                for a in actions
            ]
    (folder / "gt.txt").write_text("".join(f"{line}\n" for line in lines))


def vatic(path: Path, people: People) -> None:
    """A line a person and frame; where the person is not there, lost."""
    lines = []
    for person, shown in people.items():
        for frame in range(FRAMES):
            box, actions = shown.get(frame, ((0, 0, 1, 1), ()))
            said = "".join(f' "{action}"' for action in actions)
            numbers = " ".join(map(str, box))
            lines.append(f'{person} {numbers} {frame} {int(frame not in shown)} 0 0 "Person"{said}')
    path.write_text("".join(f"{line}\n" for line in lines))
