"""Own checkpoints: saved whole, read without live objects, resumed from the last good one."""

from __future__ import annotations

import enum
import os
import random
from collections import OrderedDict

import models
import numpy as np
import pytest
import rules
import torch
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer, read_checkpoint
from mestad_d2.checkpoint import write as write_module
from mestad_d2.checkpoint.write import plain, save_whole
from mestad_d2.errors import UserError


class State:
    """Something with a state, such as a trainer."""

    def __init__(self, **state):
        self.state = state

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


class Tiny(nn.Module):
    def __init__(self, actions=3):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4))
        self.roi_heads = nn.ModuleDict({"classifier": nn.Linear(4, actions)})


def trained(seed=0, actions=3):
    torch.manual_seed(seed)
    model = Tiny(actions)
    model.backbone[1](model.backbone[0](torch.randn(4, 3, 2, 2, 2)))
    return model


def same(a, b):
    return all(torch.equal(x, b.state_dict()[key]) for key, x in a.state_dict().items())


def test_a_whole_training_state_comes_back(tmp_path):
    model = trained()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model.roi_heads.classifier(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    state = {
        "iteration": 7,
        "numpy": np.random.get_state(),
        "python": random.getstate(),
        "best": np.float64(0.5),
    }
    teacher = trained(5)
    MESTADCheckpointer(model, str(tmp_path), optimizer=optimizer, trainer=State(**state)).save(
        "model_0000007", iteration=7, teacher=teacher.state_dict()
    )
    other = trained(1)
    their_optimizer = torch.optim.SGD(other.parameters(), lr=0.5, momentum=0.9)
    trainer = State()
    checkpointer = MESTADCheckpointer(other, str(tmp_path), optimizer=their_optimizer, trainer=trainer)
    rest = checkpointer.resume_or_load("", resume=True)
    assert same(model, other) and rest["iteration"] == 7
    assert int(other.backbone[1].num_batches_tracked) == 1
    assert set(rest["teacher"]) == set(teacher.state_dict())
    assert their_optimizer.param_groups[0]["lr"] == 0.1
    assert trainer.state["python"] == random.getstate() and trainer.state["best"] == 0.5
    np.random.set_state([x.numpy() if isinstance(x, torch.Tensor) else x for x in trainer.state["numpy"]])


def test_state_that_no_safe_reader_takes_is_refused_before_anything_is_written(tmp_path):
    checkpointer = MESTADCheckpointer(trained(), str(tmp_path), trainer=State(hook=[1, object()]))
    with pytest.raises(TypeError, match=r"checkpoint\.trainer\.hook\[1\]"):
        checkpointer.save("model_0000001")
    assert os.listdir(tmp_path) == []


def test_plain_values():
    class Kind(enum.IntEnum):
        A = 4

    values = OrderedDict(
        a=np.int64(3), b=np.bool_(True), c=Kind.A, d=(1, [2.5, None]), e=np.arange(3, dtype="u4")
    )
    found = plain(values)
    assert isinstance(found, OrderedDict)
    assert [type(found[k]) for k in "abcd"] == [int, bool, int, tuple] and found["d"] == (1, [2.5, None])
    assert found["e"].tolist() == [0, 1, 2]
    with pytest.raises(TypeError):
        plain({"x": np.array(["text"])})
    assert plain(trained().state_dict())._metadata["backbone.1"]["version"] == 2


def test_a_save_that_dies_leaves_the_file_before_it(tmp_path, monkeypatch):
    model = trained()
    checkpointer = MESTADCheckpointer(model, str(tmp_path))
    checkpointer.save("model_0000001", iteration=1)
    before = (tmp_path / "model_0000001.pth").read_bytes()

    def half(content, file):
        file.write(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write_module.torch, "save", half)
    for name in ("model_0000001", "model_0000002"):
        with pytest.raises(UserError, match="untouched"):
            checkpointer.save(name)
    assert sorted(os.listdir(tmp_path)) == ["last_checkpoint", "model_0000001.pth"]
    assert (tmp_path / "model_0000001.pth").read_bytes() == before
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"


def saved(tmp_path, numbers):
    for number in numbers:
        model = trained(number)
        MESTADCheckpointer(model, str(tmp_path)).save(f"model_{number:07d}", iteration=number)
        os.utime(tmp_path / f"model_{number:07d}.pth", (number, number))


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_the_last_good_checkpoint_is_found(tmp_path, caplog):
    saved(tmp_path, [1, 2, 3])
    save_whole({"model": trained(9).state_dict()}, tmp_path / "demo.pth")
    cut(tmp_path / "model_0000003.pth")
    model = trained(9)
    assert MESTADCheckpointer(model, str(tmp_path)).resume_or_load("", resume=True)["iteration"] == 2
    assert same(model, trained(2))
    assert "model_0000003.pth" in caplog.text and "trying the checkpoint before it" in caplog.text
    os.unlink(tmp_path / "model_0000003.pth")
    assert MESTADCheckpointer(model, str(tmp_path)).resume_or_load("", resume=True)["iteration"] == 2


def test_no_good_checkpoint_is_one_line(tmp_path):
    saved(tmp_path, [1])
    cut(tmp_path / "model_0000001.pth")
    with pytest.raises(UserError, match="no checkpoint to resume from can be read") as caught:
        MESTADCheckpointer(trained(), str(tmp_path)).resume_or_load("", resume=True)
    assert "\n" not in str(caught.value)


def test_resuming_with_another_model_is_refused_and_changes_nothing(tmp_path):
    saved(tmp_path, [1])
    model = trained(4, actions=5)
    with pytest.raises(UserError, match="config has changed"):
        MESTADCheckpointer(model, str(tmp_path)).resume_or_load("", resume=True)
    assert same(model, trained(4, actions=5))


def test_weights_for_other_actions_leave_the_head_out(tmp_path):
    saved(tmp_path, [1])
    model = trained(4, actions=5)
    checkpointer = MESTADCheckpointer(model)
    checkpointer.load(str(tmp_path / "model_0000001.pth"))
    assert same(model.backbone, trained(1).backbone)
    report = checkpointer.last_report
    assert report.new == ["roi_heads.classifier.weight", "roi_heads.classifier.bias"]
    assert "shape (3, 4) in the file, (5, 4) in the model" in report.dropped.values()


def test_training_state_of_another_library_is_not_ours(tmp_path):
    cfg = models.config(VIDEO_RESNET__WIDTH=16)
    state = models.slow(cfg).state_dict()
    theirs = {rules.pyslowfast(e): state[rules.ours(e)] for e in rules.entries(50, False)}
    torch.save(
        {"state_dict": theirs, "optimizer": {"lr": 3}, "iteration": 5, "trainer": 1},
        tmp_path / "x.pth",
    )
    trainer = State(mine=True)
    checkpointer = MESTADCheckpointer(models.slow(cfg), trainer=trainer)
    assert checkpointer.load(str(tmp_path / "x.pth")) == {}
    assert trainer.state == {"mine": True}


def test_the_file_needs_no_trust_to_be_read(tmp_path):
    saved(tmp_path, [1])
    assert read_checkpoint(tmp_path / "model_0000001.pth")["iteration"] == 1


def test_a_failed_load_does_not_block_the_next(tmp_path):
    saved(tmp_path, [1, 2])
    cut(tmp_path / "model_0000002.pth")
    checkpointer = MESTADCheckpointer(trained())
    for path in ("nowhere.pth", str(tmp_path / "model_0000002.pth")):
        with pytest.raises(UserError):
            checkpointer.load(path)
    checkpointer.load(str(tmp_path / "model_0000001.pth"))
    assert checkpointer.load("") == {}


def test_an_address_that_does_not_answer_is_one_line(monkeypatch):
    checkpointer = MESTADCheckpointer(trained())

    def unreachable(path, *args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(checkpointer.path_manager, "get_local_path", unreachable)
    with pytest.raises(UserError, match="can't be fetched") as caught:
        checkpointer.load("https://weights.invalid/a.pyth")
    assert "\n" not in str(caught.value)


def test_the_newest_by_iteration_is_found_whatever_the_files_times_and_tag(tmp_path):
    saved(tmp_path, [5, 30, 200])
    # Copied folders have new times, in any order, and the tag is easily lost or old.
    for number, time in ((5, 900), (30, 100), (200, 500)):
        os.utime(tmp_path / f"model_{number:07d}.pth", (time, time))
    for tag in ("model_0000005.pth", "absent.pth", "", None):
        if tag is None:
            (tmp_path / "last_checkpoint").unlink()
        else:
            (tmp_path / "last_checkpoint").write_text(tag)
        model = trained(9)
        checkpointer = MESTADCheckpointer(model, str(tmp_path))
        assert checkpointer.has_checkpoint()
        assert checkpointer.resume_or_load("", resume=True)["iteration"] == 200
        assert same(model, trained(200))
    # The last file of a shorter training is older than what went on from it.
    MESTADCheckpointer(trained(31), str(tmp_path)).save("model_final", iteration=31)
    assert MESTADCheckpointer(trained(9), str(tmp_path)).resume_or_load("", resume=True)["iteration"] == 200
    os.unlink(tmp_path / "model_0000200.pth")
    assert MESTADCheckpointer(trained(9), str(tmp_path)).resume_or_load("", resume=True)["iteration"] == 31


def test_bytes_changed_inside_are_passed_over(tmp_path, caplog):
    saved(tmp_path, [1, 2])
    path = tmp_path / "model_0000002.pth"
    weights = trained(2).backbone[0].weight.detach().numpy().tobytes()
    whole = path.read_bytes()
    place = whole.index(weights)
    path.write_bytes(whole[: place + 5] + bytes([whole[place + 5] ^ 1]) + whole[place + 6 :])
    model = trained(9)
    assert MESTADCheckpointer(model, str(tmp_path)).resume_or_load("", resume=True)["iteration"] == 1
    assert same(model, trained(1)) and "trying the checkpoint before it" in caplog.text
    assert MESTADCheckpointer(model, str(tmp_path)).last_good() == str(tmp_path / "model_0000001.pth")


def test_checkpoints_of_an_earlier_run_in_the_folder_are_not_resumed_from(tmp_path):
    first = MESTADCheckpointer(trained(1), str(tmp_path))
    first.run = "first"
    first.save("model_0000900", iteration=900)
    second = MESTADCheckpointer(trained(2), str(tmp_path))
    second.run = "second"
    assert not second.has_checkpoint() and second.last_good() is None
    second.save("model_0000004", iteration=4)
    model = trained(9)
    resumed = MESTADCheckpointer(model, str(tmp_path))
    resumed.run = "second"
    assert resumed.resume_or_load("", resume=True)["iteration"] == 4 and same(model, trained(2))
