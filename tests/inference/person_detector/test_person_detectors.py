"""Person detectors of three libraries give what the libraries give, and bad wishes are one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from detectron2 import model_zoo
from detectron2.modeling import build_model
from tiny import tiny_cfg

from mestad_d2.errors import UserError
from mestad_d2.inference.person_detector import (
    PERSON_DETECTOR_REGISTRY,
    PersonDetector,
    build_person_detector,
)
from mestad_d2.inference.person_detector.sources import use_persons

SSD = "ssdlite320_mobilenet_v3_large"


def pictures() -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, size, dtype=np.uint8) for size in ((60, 80, 3), (90, 50, 3))]


def config(spec: str, weights: str | None = None, **node: object):
    cfg = tiny_cfg().clone()
    cfg.defrost()
    use_persons(cfg, spec, weights)
    for key, value in {"SCORE_THRESH": 0.0, "NMS_THRESH": 1.0, **node}.items():
        cfg.MODEL.PERSON_DETECTOR[key] = value
    return cfg


def test_torchvision_boxes_are_the_librarys_people(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = torchvision.models.get_model(SSD, weights=None, weights_backbone=None, score_thresh=0.001).eval()
    for layer in plain.head.classification_head.module_list:
        layer[-1].bias.data.view(-1, 91)[:, 1] += 1  # random weights would find nobody
    torch.save(plain.state_dict(), tmp_path / "w.pth")
    detector = build_person_detector(config(f"torchvision:{SSD}", str(tmp_path / "w.pth")))
    detector.model.score_thresh = 0.001
    images = pictures()
    with torch.no_grad():
        wanted = plain([torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in images])
    for found, result in zip(detector(images), wanted, strict=True):
        people = result["labels"] == 1
        assert people.any()
        order = result["scores"][people].argsort(descending=True, stable=True)[:100]
        np.testing.assert_allclose(found[:, 4], result["scores"][people][order].numpy(), atol=1e-6)
        np.testing.assert_allclose(found[:, :4], result["boxes"][people][order].numpy(), atol=1e-3)


def test_detectron2_boxes_are_the_librarys_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "COCO-Detection/retinanet_R_50_FPN_1x.yaml"
    cfg = model_zoo.get_config(name)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.INPUT.MIN_SIZE_TEST, cfg.MODEL.RETINANET.SCORE_THRESH_TEST = 64, 0.0
    path = tmp_path / "detector.yaml"
    path.write_text(cfg.dump())
    torch.manual_seed(0)
    plain = build_model(cfg).eval()
    torch.save({"model": plain.state_dict()}, tmp_path / "w.pth")
    detector = build_person_detector(config(f"detectron2:{path}", str(tmp_path / "w.pth")))
    image = pictures()[0]
    from detectron2.data.transforms import ResizeShortestEdge

    bgr = np.ascontiguousarray(image[:, :, ::-1])
    small = ResizeShortestEdge([64, 64], cfg.INPUT.MAX_SIZE_TEST).get_transform(bgr).apply_image(bgr)
    given = {"image": torch.as_tensor(small.astype("float32").transpose(2, 0, 1)), "height": 60, "width": 80}
    with torch.no_grad():
        people = plain([given])[0]["instances"]
    people = people[people.pred_classes == 0]
    found = detector([image])[0]
    solid = people.pred_boxes.nonempty()
    np.testing.assert_allclose(found[:, 4], people.scores[solid].numpy(), atol=1e-6)
    np.testing.assert_allclose(found[:, :4], people.pred_boxes.tensor[solid].numpy(), atol=1e-3)


def test_transformers_boxes_are_the_librarys_people(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    small = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[64, 64],
        num_detection_tokens=20, id2label={0: "N/A", 1: "person", 2: "dog"}, label2id={"person": 1},
    )  # fmt: skip
    plain = transformers.YolosForObjectDetection(small).eval()
    plain.save_pretrained(tmp_path / "m")
    processor = transformers.YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    processor.save_pretrained(tmp_path / "m")
    detector = build_person_detector(config(f"transformers:{tmp_path / 'm'}"))
    for image, found in zip(pictures(), detector(pictures()), strict=True):
        with torch.no_grad():
            output = plain(**processor(images=image, return_tensors="pt"))
        scores, labels = output.logits.softmax(-1)[0, :, :-1].max(-1)
        assert len(found) == int((labels == 1).sum())
        np.testing.assert_allclose(found[:, 4], scores[labels == 1].sort(descending=True).values, atol=1e-5)
        assert (found[:, [0, 1]] >= 0).all() and (found[:, 2] <= image.shape[1]).all()


class FixedDetector(PersonDetector):
    """Gives what it was given."""

    def __init__(self, boxes: list[list[float]], scores: list[float], **selection: float) -> None:
        super().__init__(**selection)
        self.given = torch.tensor(boxes), torch.tensor(scores)

    def detect(self, pictures):
        return [self.given for _ in pictures]


def test_people_are_selected_by_score_overlap_and_number() -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9.5], [20, 0, 30, 10], [40, 0, 999, 10], [5, 5, 5, 9], [1, 1, 4, 4]]
    scores = [0.9, 0.95, 0.5, 0.99, 0.99, 0.1]
    found = FixedDetector(boxes, scores, score_threshold=0.3, nms_threshold=0.5, max_people=2)
    people = found([np.zeros((20, 50, 3), np.uint8)])[0]
    # The box that leaves the picture is clipped, the one without area and the weak one are dropped.
    np.testing.assert_allclose(people, [[40, 0, 50, 10, 0.99], [0, 0, 10, 9.5, 0.95]], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "weights", "said"),
    [
        ("torchvision:nobody", None, "torchvision has no detector 'nobody'"),
        (f"torchvision:{SSD}", "absent.pth", "absent.pth: can't be opened"),
        ("detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml", None, "weights file by --persons-weights"),
        ("transformers:/nowhere/rtdetr", None, "/nowhere/rtdetr: no such folder"),
        ("detectron2:nobody", "random", "neither a file nor a config"),
        ("transformers:absent", "w.pth", "bring their weights"),
        ("yolo:v1", None, "there is no kind 'yolo'; there are csv, detectron2, torchvision, transformers"),
        ("torchvision", None, "expected NAME:MODEL"),
    ],
)
def test_wrong_wishes_are_one_line(spec: str, weights: str | None, said: str) -> None:
    with pytest.raises(UserError) as error:
        build_person_detector(config(spec, weights))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_detector_that_knows_no_people_is_refused(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    small = transformers.YolosConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=[32, 32],
        num_detection_tokens=4, id2label={0: "cat", 1: "dog"},
    )  # fmt: skip
    transformers.YolosForObjectDetection(small).save_pretrained(tmp_path / "m")
    transformers.YolosImageProcessor().save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match='none of its 2 classes is called "person"'):
        build_person_detector(config(f"transformers:{tmp_path / 'm'}"))


def test_a_detector_of_ones_own_is_a_registered_class() -> None:
    class MyPersonDetector(FixedDetector):
        @classmethod
        def from_config(cls, cfg):
            return cls([[0, 0, 5, 5]], [0.9], score_threshold=0.5, nms_threshold=0.5, max_people=9)

    PERSON_DETECTOR_REGISTRY.register(MyPersonDetector)
    detector = build_person_detector(config("MyPersonDetector:any"))
    assert detector([np.zeros((9, 9, 3), np.uint8)])[0].shape == (1, 5)
