"""The one record of a moment's people: what is taken, selected and scaled, against detectron2's own."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances

from mestad_d2.inference.predictor import KeyframeDetections
from mestad_d2.people import People


def instances(count: int = 5, size: tuple[int, int] = (48, 64)) -> Instances:
    """Random detections on a frame of (height, width)."""
    rng = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 4, generator=rng) * 20
    boxes = torch.cat([corners[:, :2], corners[:, :2] + 1 + corners[:, 2:]], dim=1)
    scores, actions = torch.rand(count, generator=rng), torch.rand(count, 3, generator=rng)
    return Instances(size, pred_boxes=Boxes(boxes), scores=scores, pred_actions=actions)


def test_what_a_model_found_is_taken_and_selected_as_detectron2_selects() -> None:
    found = instances()
    people = People.from_instances(found, 2, "v")
    assert (people.timestamp, people.height, people.width, people.video_id, len(people)) == (
        2.0,
        48,
        64,
        "v",
        5,
    )
    assert people.track_ids is None
    for which in (np.array([True, False, True, False, False]), np.array([4, 0]), slice(0, 3)):
        other, some = (
            found[torch.from_numpy(which) if isinstance(which, np.ndarray) else which],
            people.select(which),
        )
        np.testing.assert_array_equal(some.boxes, other.pred_boxes.tensor)
        np.testing.assert_array_equal(some.scores, other.scores)
        np.testing.assert_array_equal(some.actions, other.pred_actions)
        assert some.track_ids is None and some.video_id == "v"


def test_boxes_move_to_another_frame_as_detectron2_moves_them() -> None:
    people = People.from_instances(instances(), 0.0)
    other = detector_postprocess(instances(), 100, 90)
    np.testing.assert_allclose(people.resized(100, 90).boxes, other.pred_boxes.tensor, rtol=1e-6)
    np.testing.assert_allclose(people.fractions(), people.resized(1, 1).boxes, rtol=1e-6)
    assert people.fractions().dtype == np.float64 and people.resized(100, 90).boxes.dtype == np.float32


def test_the_record_of_0_1_still_goes() -> None:
    rows = instances()
    old = KeyframeDetections(
        timestamp=1.0, boxes=rows.pred_boxes.tensor.numpy(), scores=rows.scores.numpy(),
        actions=rows.pred_actions.numpy(), track_ids=np.arange(5), height=48, width=64,
    )  # fmt: skip
    assert isinstance(old, People) and old.select(slice(2)).track_ids.tolist() == [0, 1]
