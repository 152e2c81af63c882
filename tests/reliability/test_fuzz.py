"""Fuzzers of parsers, assigner, evaluator, FCOS targets and clip sampling.

``MESTAD_FUZZ`` is the number of inputs each (default 25; `make stress` gives 10,000).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.data.sampling import DrawBatches, Draws
from mestad_d2.errors import UserError
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.ground_truth import GroundTruth
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.evaluation.rows import make_rows
from mestad_d2.formats import ava_csv
from mestad_d2.formats.label_map import LabelMap, read_label_map
from mestad_d2.modeling.proposal_generator.fcos.targets import FCOSTargets
from mestad_d2.modeling.proposal_generator.locations import boxes_to_distances
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.video.clips import clip_times, nearest_indices

INPUTS = int(os.environ.get("MESTAD_FUZZ", "25"))
fuzz = settings(deadline=None, max_examples=INPUTS, database=None, suppress_health_check=list(HealthCheck))

FIELDS = st.sampled_from(
    ["v", "../a", "902", "0.5", "-1", "nan", "inf", "", '"', "1e400", "12", "é", "\x00", "0.1"]
)
LINES = st.lists(FIELDS, max_size=9).map(",".join)
LABEL_LINES = st.sampled_from(
    ["item {", "label {", "}", '  name: "a"', "  id: 3", "  label_id: -1", '  name: "', "id:"]
)
TEXTS = (
    st.lists(LINES, max_size=5).map("\n".join).map(str.encode)
    | st.lists(LABEL_LINES | LINES, max_size=12).map("\n".join).map(str.encode)
    | st.binary(max_size=200)
)
PARSERS: dict[str, Callable[[str], object]] = {
    "training csv": ava_csv.read_ground_truth,
    "exclusions": ava_csv.read_exclusions,
    "evaluation ground truth": lambda path: read_rows(path, "gt", "activitynet"),
    "evaluation detections": lambda path: read_rows(path, "det", "slowfast", {1, 12}),
    "evaluation ground truth in training": GroundTruth,
    "label map": read_label_map,
    "person boxes": read_person_boxes,
}


@pytest.mark.parametrize("name", PARSERS)
def test_parsers_raise_one_line_that_names_the_file(name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("f.pbtxt" if "map" in name else "f.csv")

        @fuzz
        @given(content=TEXTS)
        def check(content: bytes) -> None:
            path.write_bytes(content)
            try:
                PARSERS[name](str(path))
            except UserError as error:
                assert "\n" not in str(error) and str(path) in str(error)

        check()


def boxes(rng: np.random.Generator, count: int, size: float = 100.0) -> torch.Tensor:
    """Sorted corners; some of no area, some a pixel, some equal."""
    found = np.sort(rng.uniform(-5, size + 5, (count, 2, 2)), axis=1).reshape(count, 4)
    kind = rng.random(count)
    found[kind < 0.1, 2:] = found[kind < 0.1, :2]
    found[(kind > 0.1) & (kind < 0.2), 2:] = found[(kind > 0.1) & (kind < 0.2), :2] + 1
    if count > 1 and rng.random() < 0.2:
        found[1] = found[0]
    return torch.from_numpy(found).float()


@fuzz
@given(seed=st.integers(0, 2**32), people=st.integers(0, 30), truths=st.integers(0, 30))
@example(seed=0, people=0, truths=0)
def test_assigner_gives_each_person_once(seed: int, people: int, truths: int) -> None:
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.choice([0.0, 1.0, 0.5, rng.random()], (people, 4))).float()
    labels = torch.from_numpy(rng.integers(0, 2, (truths, 4))).float()
    index, cost = TemporalLabelAssigner()(boxes(rng, people), scores, boxes(rng, truths), labels, (90, 100))
    given_to = index[index >= 0]
    assert len(index) == people and len(given_to) == len(set(given_to.tolist())) == min(people, truths)
    assert bool((index < max(truths, 1)).all())
    assert bool(torch.isfinite(cost).all())


@fuzz
@given(seed=st.integers(0, 2**32), count=st.integers(0, 30))
def test_fcos_targets_lie_in_their_boxes(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    truth = boxes(rng, count)
    points = torch.from_numpy(rng.uniform(0, 100, (60, 2))).float()
    levels = torch.from_numpy(np.sort(rng.integers(0, 3, 60)))
    index = FCOSTargets((8, 16, 32), (32, 64), rng.choice([None, 1.5])).assign(points, levels, truth)
    assert index.shape == (60,) and bool(((index >= -1) & (index < max(count, 1))).all())
    chosen = index >= 0
    if chosen.any():
        assert float(boxes_to_distances(points[chosen], truth[index[chosen]]).min()) > 0


@fuzz
@given(seed=st.integers(0, 2**32), truths=st.integers(0, 12), found=st.integers(0, 40))
def test_evaluator_gives_shares(seed: int, truths: int, found: int) -> None:
    rng = np.random.default_rng(seed)

    def rows(count: int) -> object:
        names = [f"v{i},000{i}.000000" for i in rng.integers(0, 3, count)]
        return make_rows(names, boxes(rng, count).numpy() / 100.0, rng.integers(1, 4, count).astype(float),
                         rng.choice([0.0, 0.5, 1.0], count))  # fmt: skip

    labels, protocol = LabelMap({1: "a", 2: "b", 3: "c"}), PROTOCOLS[str(rng.choice(sorted(PROTOCOLS)))]
    try:
        result = frame_map(rows(truths), rows(found), labels, protocol, set())
    except UserError as error:
        assert "\n" not in str(error)
        return
    assert np.isnan(result.mAP) or 0 <= result.mAP <= 1


@fuzz
@given(
    center=st.floats(-1e4, 1e5), frames=st.integers(1, 64), rate=st.integers(1, 32), fps=st.floats(0.5, 240)
)
def test_clip_times_are_even_and_centred(center: float, frames: int, rate: int, fps: float) -> None:
    times = clip_times(center, frames, rate, fps)
    assert times.shape == (frames,) and times[frames // 2] == center
    np.testing.assert_allclose(np.diff(times), rate / fps, atol=1e-8)
    stamps = np.sort(np.random.default_rng(frames).uniform(-5, 30, rate))
    near = nearest_indices(stamps, times)
    brute = np.abs(stamps[None] - times[:, None])
    np.testing.assert_allclose(brute[np.arange(frames), near], brute.min(axis=1), atol=1e-5)


@fuzz
@given(size=st.integers(1, 40), batch=st.integers(1, 9), start=st.integers(0, 200), seed=st.integers(0, 1000))
def test_draws_are_permutations(size: int, batch: int, start: int, seed: int) -> None:
    draws = Draws([(lambda item, rng: item, [{"n": i} for i in range(size)])], seed, "raise", 0.0)
    sampler = DrawBatches(batch)
    sampler.start = start
    assert next(iter(sampler))[0] == start * batch
    epoch = start % 5
    assert sorted(draws[epoch * size + i]["n"] for i in range(size)) == list(range(size))
