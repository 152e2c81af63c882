"""Loaders on a small dataset whose frames carry their number."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from numbered_video import read_number, write_numbered_video

from mestad_d2 import add_mestad_config
from mestad_d2.data.catalog import register_ava_dataset, register_custom
from mestad_d2.data.loaders import build_test_loader, build_train_loader, build_unlabeled_loader
from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.data.sampling import start_at
from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import read_arrays
from mestad_d2.video.clips import time_shifts
from mestad_d2.video.frames import read_frames

RATES = {"a": Fraction(25), "b": Fraction(30000, 1001)}


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """Two 4 s videos of different frame rates; key frames at 1, 2 and 3 s; registered as "numbered"."""
    (tmp_path / "videos").mkdir()
    rows = []
    for name, rate in RATES.items():
        write_numbered_video(
            tmp_path / "videos" / f"{name}.mp4", 4 * round(rate), rate, codec="libx264", g="20"
        )
        for second in (1, 2, 3):
            rows.append(f"{name},{second:04d},0.1,0.1,0.4,0.9,1,0")
            rows.append(f"{name},{second:04d},0.6,0.2,0.9,0.8,3,1")
    (tmp_path / "gt.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "map.txt").write_text("1: left\n2: right\n3: jump\n")
    register_ava_dataset(
        "numbered",
        video_root=tmp_path / "videos",
        annotations=tmp_path / "gt.csv",
        label_map=tmp_path / "map.txt",
        flip_pairs=[(1, 2)],
    )
    yield tmp_path
    DatasetCatalog.remove("numbered")
    MetadataCatalog.remove("numbered")


@pytest.fixture
def cfg(root: Path) -> CfgNode:
    """8 frames, 4 apart; no augmentation but the flip."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.DATASETS.TRAIN = cfg.DATASETS.TEST = ("numbered",)
    cfg.INPUT.CLIP.NUM_FRAMES, cfg.INPUT.CLIP.SAMPLING_RATE = 8, 4
    cfg.INPUT.CLIP.COLOR_JITTER = [0.0] * 4
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.MIN_SIZE_TEST = (64,), 64
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES = 3
    cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS, cfg.SEED = 2, 0, 3
    return cfg


def numbers(item: dict) -> list[int]:
    """Numbers of a clip's frames."""
    return [read_number(frame) for frame in item["clip"].permute(1, 2, 3, 0).numpy()]


def test_key_frame_is_in_the_middle_at_any_rate(cfg: CfgNode) -> None:
    for item in build_test_loader(cfg, "numbered"):
        item = item[0]
        rate = float(RATES[item["video_id"]])
        assert item["clip"].shape == (3, 8, 64, 160) and item["clip"].dtype == torch.uint8
        wanted = [round((item["timestamp"] + (i - 4) * 4 / 30) * rate) for i in range(8)]
        np.testing.assert_allclose(numbers(item), wanted, atol=1)
        assert numbers(item)[4] == round(item["timestamp"] * rate)


def test_every_key_frame_is_tested_once(cfg: CfgNode) -> None:
    cfg.TEST.BATCH_SIZE = 4
    batches = list(build_test_loader(cfg, "numbered"))
    assert [len(batch) for batch in batches] == [4, 2]
    names = [(x["video_id"], x["timestamp"]) for batch in batches for x in batch]
    assert names == [(v, float(s)) for v in "ab" for s in (1, 2, 3)]
    boxes = batches[0][0]["instances"].gt_boxes.tensor
    torch.testing.assert_close(boxes, torch.tensor([[16, 6.4, 64, 57.6], [96, 12.8, 144, 51.2]]))
    assert batches[0][0]["instances"].gt_actions.tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("pattern", ["{video}_{number:06d}.png", "img_{number:05d}.png"])
def test_lossless_frames_give_the_same_clips(cfg: CfgNode, root: Path, pattern: str) -> None:
    cfg.DATASETS.TEST = ("numbered",)
    direct = [item[0] for item in build_test_loader(cfg, "numbered") if item[0]["video_id"] == "b"]
    # 30 frames a second is what folders count in; b has 29.97 and is short, so that none is off.
    folder = root / "videos" / "b"
    folder.mkdir()
    times = np.arange(120) * 1001 / 30000
    for number, frame in enumerate(read_frames(str(root / "videos" / "b.mp4"), times), start=1):
        cv2.imwrite(str(folder / pattern.format(video="b", number=number)), frame[..., ::-1])
    (root / "videos" / "b.mp4").unlink()
    from_folder = [item[0] for item in build_test_loader(cfg, "numbered") if item[0]["video_id"] == "b"]
    for one, other in zip(direct, from_folder, strict=True):
        assert torch.equal(one["clip"], other["clip"])
        assert torch.equal(one["instances"].gt_boxes.tensor, other["instances"].gt_boxes.tensor)


def test_still_clips_repeat_the_key_frame(cfg: CfgNode) -> None:
    cfg.INPUT.CLIP.STILL = True
    item = next(iter(build_test_loader(cfg, "numbered")))[0]
    assert numbers(item) == [25] * 8


def test_an_epoch_is_a_permutation_and_workers_change_nothing(cfg: CfgNode) -> None:
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    first = list(islice(build_train_loader(cfg), 6))
    seen = [(x["video_id"], x["timestamp"]) for batch in first for x in batch]
    assert len(set(seen[:6])) == 6 and set(seen[:6]) == set(seen[6:]) and seen[:6] != seen[6:]
    cfg.DATALOADER.NUM_WORKERS = 2
    for batch, again in zip(first, build_train_loader(cfg), strict=False):
        for x, y in zip(batch, again, strict=True):
            assert torch.equal(x["clip"], y["clip"])
    resumed = build_train_loader(cfg)
    start_at(resumed, 4)
    assert torch.equal(next(iter(resumed))[1]["clip"], first[4][1]["clip"])


def test_time_jitter_moves_each_frame_by_its_draw(cfg: CfgNode) -> None:
    cfg.INPUT.CLIP.SAMPLING_RATE, cfg.INPUT.CLIP.FPS = 2, 25.0
    plain = [
        numbers(x) for batch in islice(build_train_loader(cfg), 6) for x in batch if x["video_id"] == "a"
    ]
    cfg.INPUT.CLIP.TIME_JITTER, cfg.INPUT.CLIP.CACHE_MB = True, 100
    loader = build_train_loader(cfg)
    first = list(islice(loader, 6))
    moved = [numbers(x) for batch in first for x in batch if x["video_id"] == "a"]
    shifts = np.subtract(moved, plain)
    # The key frame is moved as well, and the same clip differently at each draw.
    assert set(shifts.flatten()) == {-1, 0} and set(shifts[:, 4]) == {-1, 0}
    assert len(np.unique(shifts, axis=0)) > 4
    cfg.DATALOADER.NUM_WORKERS = 2
    for batch, again in zip(first, build_train_loader(cfg), strict=False):
        assert all(torch.equal(x["clip"], y["clip"]) for x, y in zip(batch, again, strict=True))
    resumed = build_train_loader(cfg)
    start_at(resumed, 4)
    assert torch.equal(next(iter(resumed))[1]["clip"], first[4][1]["clip"])
    tested = next(iter(build_test_loader(cfg, "numbered")))[0]
    assert numbers(tested) == list(range(17, 33, 2))


@pytest.mark.parametrize("rate, low, high", [(1, -1, 0), (2, -1, 0), (3, -2, 1), (16, -8, 7)])
def test_time_shifts_stay_within_half_a_step(rate: int, low: int, high: int) -> None:
    frames = time_shifts(4000, rate, 30.0, np.random.default_rng(0)) * 30
    assert (round(frames.min()), round(frames.max())) == (low, high)
    assert len(np.unique(frames.round())) == high - low + 1


def test_the_first_iterations_see_thinned_clips(cfg: CfgNode) -> None:
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    whole = list(islice(build_train_loader(cfg), 4))
    cfg.INPUT.CLIP.COARSE_ITERS = 2
    for number, (batch, thinned) in enumerate(zip(whole, build_train_loader(cfg), strict=False)):
        for x, y in zip(batch, thinned, strict=True):
            assert torch.equal(y["clip"], x["clip"][:, ::2] if number < 2 else x["clip"])
            assert torch.equal(y["instances"].gt_boxes.tensor, x["instances"].gt_boxes.tensor)
            assert torch.equal(y["clip"][:, y["clip"].shape[1] // 2], x["clip"][:, 4])
    resumed = build_train_loader(cfg)
    start_at(resumed, 2)
    assert torch.equal(next(iter(resumed))[1]["clip"], whole[2][1]["clip"])


def test_thinned_clips_keep_their_key_frame_and_end_before_the_teacher(cfg: CfgNode) -> None:
    cfg.INPUT.CLIP.COARSE_ITERS = 5
    cfg.INPUT.CLIP.COARSE_STRIDE = 8
    with pytest.raises(UserError, match="COARSE_STRIDE 8 loses the key frame of 8 frames"):
        build_train_loader(cfg)
    cfg.INPUT.CLIP.COARSE_STRIDE = 4
    assert numbers(next(iter(build_train_loader(cfg)))[0])
    cfg.SEMISUP.ENABLED, cfg.SEMISUP.BURN_IN_ITERS = True, 4
    with pytest.raises(UserError, match=r"COARSE_ITERS 5: .* at most SEMISUP.BURN_IN_ITERS \(4\)"):
        build_train_loader(cfg)


def test_a_flip_swaps_left_and_right(cfg: CfgNode) -> None:
    cfg.INPUT.RANDOM_FLIP = "horizontal"
    seen = set()
    for batch in islice(build_train_loader(cfg), 10):
        for item in batch:
            flipped = item["instances"].gt_boxes.tensor[0, 0].item() > 80
            actions = item["instances"].gt_actions[0].tolist()
            assert actions == ([0, 1, 0] if flipped else [1, 0, 0])
            assert item["instances"].gt_actions[1].tolist() == [0, 0, 1]
            seen.add(flipped)
    assert seen == {False, True}


def test_unlabelled_views_share_their_geometry(cfg: CfgNode) -> None:
    cfg.INPUT.CLIP.COLOR_JITTER = [0.3, 0.3, 0.0, 0.0]
    cfg.SEMISUP.UNLABELED_RATIO = 1.5
    for batch in islice(build_unlabeled_loader(cfg), 4):
        assert len(batch) == 3
        for item in batch:
            rate = float(RATES[item["video_id"]])
            weak = [read_number(f) for f in item["clip_weak"].permute(1, 2, 3, 0).numpy()]
            assert abs(weak[4] - item["timestamp"] * rate) <= 0.6
            assert item["clip"].shape == item["clip_weak"].shape
            assert not torch.equal(item["clip"], item["clip_weak"])
            for side in ("left", "right"):
                present = item[f"{side}_timestamp"] is not None
                assert len(item[f"{side}_instances"]) == 2 * present
            assert item["left_timestamp"] is None or 1 / 31 < item["timestamp"] - item["left_timestamp"] < 1


def test_unreadable_videos_stop_or_are_skipped(cfg: CfgNode, root: Path) -> None:
    strict = build_train_loader(cfg)
    cfg.INPUT.CLIP.ON_ERROR, cfg.INPUT.CLIP.MAX_SKIPPED = "skip", 0.6
    patient = build_train_loader(cfg)
    cfg.INPUT.CLIP.MAX_SKIPPED = 0.1
    impatient = build_train_loader(cfg)
    # The file breaks after the dataset was loaded.
    (root / "videos" / "b.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match="b.mp4"):
        list(islice(strict, 3))
    assert {x["video_id"] for batch in islice(patient, 6) for x in batch} == {"a"}
    with pytest.raises(UserError, match="MAX_SKIPPED"):
        list(islice(impatient, 6))


@pytest.mark.parametrize("form", ["boxes.csv", "boxes.pkl"])
def test_boxes_of_a_detector(cfg: CfgNode, root: Path, form: str) -> None:
    path = root / form
    if form.endswith("csv"):
        path.write_text("a,0001,0.1,0.1,0.5,0.5,,0.95\na,0001,0.2,0.2,0.6,0.6,,0.3\n")
    else:
        path.write_bytes(
            pickle.dumps({"a,0001": np.array([[0.1, 0.1, 0.5, 0.5, 0.95], [0.2, 0.2, 0.6, 0.6, 0.3]])})
        )
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "external"
    with pytest.raises(UserError, match="PERSON_BOXES_TEST"):
        build_test_loader(cfg, "numbered")
    cfg.DATASETS.PERSON_BOXES_TEST = (str(path),)
    first, second, *_ = build_test_loader(cfg, "numbered")
    proposals = first[0]["proposals"]
    torch.testing.assert_close(proposals.proposal_boxes.tensor, torch.tensor([[16, 6.4, 80, 32]]))
    torch.testing.assert_close(proposals.objectness_logits, torch.tensor([0.95]))
    assert len(second[0]["proposals"]) == 0


class _Harm:
    def __reduce__(self) -> tuple:
        return (print, ("harm",))


def test_pickles_run_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a,1": _Harm()}))
    with pytest.raises(UserError, match="builtins.print"):
        read_arrays(tmp_path / "x.pkl")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [("a,1,0,0,1", "5 fields"), ("a,1,0,0,1,1,,x", "score"), ("a,1,0,0,90,1,,1", "pixels")],
)
def test_malformed_boxes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.csv").write_text(text + "\n")
    with pytest.raises(UserError, match=message):
        read_person_boxes(tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("NAME", 5, "NAME is 5; write a name"), ("NAME", "", "NAME is ''"), ("VIDEOS", ["a"], "VIDEOS is ['a']; write a path"),
     ("ANNOTATIONS", None, "ANNOTATIONS is None"), ("LABEL_MAP", {"sit": 1}, "LABEL_MAP is {'sit': 1}"),
     ("EXCLUDE", 3, "EXCLUDE is 3"), ("DENSE", [], "DENSE is []"), ("FRAME_LIST", 9, "FRAME_LIST is 9"),
     ("FLIP_PAIRS", 5, "FLIP_PAIRS is 5"), ("FLIP_PAIRS", [[1]], "FLIP_PAIRS is [[1]]"),
     ("FLIP_PAIRS", [["a", "b"]], "write pairs of action ids"), ("FLIP_PAIRS", [[4, 4]], "[[4, 4]]"),
     ("START", [1], "START: [1] is neither"), ("FPS", {}, "FPS: {} is neither")],
)  # fmt: skip
def test_values_of_the_wrong_kind_are_one_line(cfg: CfgNode, key: str, value: object, said: str) -> None:
    entry = {"NAME": "wrong", "VIDEOS": "v", "ANNOTATIONS": "a.csv", "LABEL_MAP": "m.txt"}
    cfg.DATASETS.CUSTOM = [{**entry, key: value}]
    with pytest.raises(UserError) as error:
        register_custom(cfg)
    assert said in str(error.value) and str(error.value).startswith("DATASETS.CUSTOM: ")
    cfg.DATASETS.CUSTOM = [entry, entry]
    with pytest.raises(UserError, match="two entries are called wrong"):
        register_custom(cfg)


def test_custom_datasets_need_no_code(cfg: CfgNode, root: Path) -> None:
    entry = {"NAME": "mine", "VIDEOS": str(root / "videos"), "ANNOTATIONS": str(root / "gt.csv")}
    cfg.DATASETS.CUSTOM = [entry]
    with pytest.raises(UserError, match="LABEL_MAP"):
        register_custom(cfg)
    cfg.DATASETS.CUSTOM = [{**entry, "LABEL_MAP": str(root / "map.txt")}]
    register_custom(cfg)
    register_custom(cfg)
    assert MetadataCatalog.get("mine").action_names == {1: "left", 2: "right", 3: "jump"}
    assert len(DatasetCatalog.get("mine")) == 6
