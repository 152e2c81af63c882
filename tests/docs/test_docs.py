"""What the pages name is there: files, scripts and the flags of their commands."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
from loading import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "datasets").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
# Flags that no script of ours defines: detectron2's.
TRAINING = {
    *("--config-file", "--resume", "--eval-only", "--num-gpus"),
    *("--num-machines", "--machine-rank", "--dist-url"),
}
# Those of torchrun and Slurm.
OTHERS = {"--standalone", "--nproc-per-node", "--nodes", "--gpus-per-node"}
# Scripts whose parser is elsewhere, by the value of --task where they have that.
ELSEWHERE = {
    "tools/benchmark.py --task data": "mestad_d2/benchmarks/data.py",
    "tools/benchmark.py --task eval": "mestad_d2/benchmarks/evaluation.py",
    "tools/benchmark.py --task gpu": "mestad_d2/benchmarks/gpu.py",
    "tools/benchmark.py --task inference": "mestad_d2/benchmarks/inference.py",
    "tools/benchmark.py --task pass": "mestad_d2/benchmarks/one_pass.py",
    "tools/benchmark.py --task start": "mestad_d2/benchmarks/start.py",
    "tools/benchmark.py --task train": "mestad_d2/benchmarks/training.py",
    "tools/benchmark.py --task tubes": "mestad_d2/benchmarks/tubes/evaluation.py",
}
SCRIPT = re.compile(r"(?:[\w.]+/)*(?:tools|datasets|examples|scripts)/\w+\.py|\bmestad_d2(?:\.\w+)+")


def links(page: Path) -> list[str]:
    """Targets of the page's links inside the repository, without the part behind #."""
    found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    return [target.split("#")[0] for target in found if not target.startswith(("http", "#"))]


def commands(page: Path) -> list[list[str]]:
    """Words of each shell command of the page's blocks that runs one of our scripts, from the script on."""
    found = []
    for language, block in re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", page.read_text(), flags=re.S | re.M):
        if language not in ("", "bash", "sh"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            # Optional parts, alternatives and shell variables are for people.
            words = shlex.split(re.sub(r"[\[\]]", " ", line).replace("|", " "), comments=True)
            words = [word.removeprefix(".venv/bin/") for word in words]
            place = [i for i, word in enumerate(words) if SCRIPT.fullmatch(word)]
            if place and not set(words[: place[0]]) & {"pip", "export", "import", "from"}:
                found.append(words[place[0] :])
    return found


@cache
def flags(source: str) -> frozenset[str]:
    """Flags that a script's parser knows, those of our modules that it imports included; nothing is run."""
    tree = ast.parse((ROOT / source).read_text())
    found: set[str] = {"--help"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            names = {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
            found |= {name for name in names if str(name).startswith("--")}
            if any(getattr(word.value, "attr", "") == "BooleanOptionalAction" for word in node.keywords):
                found |= {name.replace("--", "--no-", 1) for name in names}
        elif isinstance(node, ast.ImportFrom) and node.module == "mestad_d2.inference.arguments":
            found |= flags("mestad_d2/inference/arguments.py")
        elif isinstance(node, ast.ImportFrom) and node.module == "detectron2.engine":
            found |= TRAINING
    return frozenset(found)


@cache
def every_flag() -> frozenset[str]:
    """Flags of all parsers in the repository."""
    paths = [path for folder in ("tools", "datasets", "mestad_d2") for path in (ROOT / folder).rglob("*.py")]
    return frozenset().union(*(flags(str(path.relative_to(ROOT))) for path in paths))


def source_of(words: list[str]) -> str:
    """File whose parser a command's words go to."""
    script = words[0]
    if "--task" in words:
        return ELSEWHERE[f"{script} --task {words[words.index('--task') + 1]}"]
    return script if script.endswith(".py") else script.replace(".", "/") + ".py"


def test_flags_are_those_of_argparse() -> None:
    from mestad_d2.inference import arguments

    parser = argparse.ArgumentParser()
    arguments.add_detector_arguments(parser)
    arguments.add_persons_arguments(parser)
    arguments.add_rate_argument(parser)
    arguments.add_people_argument(parser)
    arguments.add_speed_arguments(parser)
    arguments.add_stream_argument(parser)
    arguments.add_tubes_argument(parser)
    arguments.add_window_arguments(parser)
    arguments.add_config_options(parser)
    known = {option for option in parser._option_string_actions if option.startswith("--")}
    assert flags("mestad_d2/inference/arguments.py") == known


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    missing = [target for target in links(ROOT / name) if not (ROOT / name).parent.joinpath(target).exists()]
    assert not missing


@pytest.mark.parametrize("name", NAMES)
def test_files_named_are_there(name: str) -> None:
    text = (ROOT / name).read_text()
    named = set(re.findall(r"(?:tools|configs|examples|docs|tests|scripts|mestad_d2)/[\w/.-]+\.\w+", text))
    made = re.compile(r"-v2\.2/\w*\.$|model_final|\.\w+\.part")
    assert not [path for path in sorted(named) if not made.search(path) and not (ROOT / path).exists()]


@pytest.mark.parametrize("name", NAMES)
def test_commands_have_flags_that_the_scripts_know(name: str) -> None:
    for words in commands(ROOT / name):
        source = source_of(words)
        assert (ROOT / source).is_file(), words
        given = {word.split("=")[0] for word in words if word.startswith("--")} - {"--task"}
        assert given <= flags(source), f"{source}: {sorted(given - flags(source))}"


def test_commands_are_found() -> None:
    found = {words[0] for page in PAGES for words in commands(page)}
    assert {"tools/demo.py", "tools/train_net.py", "tools/densify.py", "mestad_d2.data.toy.dataset"} <= found


@pytest.mark.parametrize("name", NAMES)
def test_flags_named_in_the_text_exist(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(), flags=re.S | re.M)
    named = {flag for code in re.findall(r"`([^`]+)`", text) for flag in re.findall(r"--[a-z][\w-]*", code)}
    unknown = {flag for flag in named - OTHERS if not any(known.startswith(flag) for known in every_flag())}
    assert not unknown


def test_commands_that_start_ray_say_which_address_it_listens_on() -> None:
    # Without one it listens on all of them, and whoever reaches it can run code.
    heads = [line for page in PAGES for line in page.read_text().splitlines() if "ray start --head" in line]
    assert heads and all("--node-ip-address" in line for line in heads)
