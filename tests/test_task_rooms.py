"""A task is a room: nothing outside knows a task by name, and a new one is a folder and an entry in the list."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.job_runs import OWN_RAY, job_environment
from vlm3.config import dump_yaml
from vlm3.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ROOT / "platform" / "vlm3" / "tasks"
TREES = ("platform", "pipelines", "jobs", "serve")
NAMES = {room.asked.task for room in TASKS}
IMPORTED = re.compile(rf"vlm3\.tasks\.({'|'.join(NAMES)})\b")
ROUTES = {"serve/app.py"}
"""Where a path of the HTTP server is given to a task."""
FOREIGN = ("platform/vlm3/sources/", "platform/vlm3/benchmarks/")
"""Readers of foreign data, where such a word is a key in somebody's file."""
OTHER_MEANING = {("platform/vlm3/models/tiny.py", "depth")}
"""A key of the model's configuration: how many layers its vision has."""

RECIPE = {
    "name": "nearer",
    "sources": {
        "rooms": {"weight": 1, "render": {"scenes": 24, "frames_per_scene": 2, "width_px": 64, "height_px": 48}}
    },
    "tasks": {"depth": None, "nearer": {"focal_px": 40, "ask": {"questions": 3}}},
    "model": {"id": "tiny"},
    "engine": {"micro_batch": 2},
    "train": {"steps": 2, "global_batch": 4},
}


def told_by_name(file: str, source: str) -> list[str]:
    """Imports of a room, and literals that are a task's name, in a file outside of the rooms."""
    found = []
    for node in ast.walk(ast.parse(source)):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        if file not in ROUTES:
            rooms = [module for module in modules if IMPORTED.match(module)]
            found += [f"{file}:{node.lineno} imports {room}" for room in rooms]
        word = node.value if isinstance(node, ast.Constant) else None
        if word in NAMES and not file.startswith(FOREIGN) and (file, word) not in OTHER_MEANING:
            found.append(f"{file}:{node.lineno} says {word!r}")
    return found


def outside() -> Iterator[Path]:
    """Source files that are in no room."""
    rooms = [ROOMS / room.asked.task for room in TASKS]
    for tree in TREES:
        for file in sorted((ROOT / tree).rglob("*.py")):
            if file != ROOMS / "__init__.py" and not any(file.is_relative_to(room) for room in rooms):
                yield file


def test_nothing_outside_of_the_rooms_knows_a_task_by_name() -> None:
    files = list(outside())
    assert len(files) > 200 and all((ROOMS / name / "room.py").is_file() for name in NAMES)
    assert [found for file in files for found in told_by_name(str(file.relative_to(ROOT)), file.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "from vlm3.tasks.depth.room import DepthRoom",
        "def f():\n    import vlm3.tasks.pose.table",
        "kind = {'objects': 1}",
        "match name:\n    case 'correspondence':\n        pass",
    ],
)
def test_the_guard_of_rooms_sees_what_is_forbidden(source: str) -> None:
    assert len(told_by_name("pipelines/train.py", source)) == 1


def test_the_guard_of_rooms_lets_pass_what_is_allowed() -> None:
    allowed = "from vlm3.tasks import TASKS\nfrom vlm3.tasks.spec_file import parse_spec\nname = 'depth_m'"
    assert told_by_name("pipelines/train.py", allowed) == []
    assert told_by_name("serve/app.py", "from vlm3.tasks.depth.answering import answer_depth") == []
    assert told_by_name("platform/vlm3/sources/jsonl.py", "entry['depth']") == []


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The platform with a toy task: its folder, and an entry in the list."""
    folder = tmp_path_factory.mktemp("house")
    for tree in TREES:
        shutil.copytree(ROOT / tree, folder / tree, ignore=shutil.ignore_patterns("__pycache__"))
    tasks = folder / "platform" / "vlm3" / "tasks"
    shutil.copytree(ROOT / "tests" / "fixtures" / "nearer", tasks / "nearer")
    listed = tasks / "__init__.py"
    text = listed.read_text()
    new = text.replace("ObjectsRoom())", "ObjectsRoom(), NearerRoom())").replace(
        "from vlm3.tasks.objects", "from vlm3.tasks.nearer.room import NearerRoom\nfrom vlm3.tasks.objects"
    )
    assert len(new.splitlines()) == len(text.splitlines()) + 1
    listed.write_text(new)
    return folder


def run(house: Path, job: str, *arguments: object) -> str:
    """What a job of the changed platform prints."""
    path = os.pathsep.join((str(house / "platform"), str(house)))
    done = subprocess.run(
        [sys.executable, f"jobs/{job}.py", *map(str, arguments)],
        cwd=house,
        env=job_environment(OWN_RAY, PYTHONPATH=path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.long
def test_a_new_task_is_a_folder_and_an_entry_in_the_list(house: Path, tmp_path: Path) -> None:
    recipe, runs = tmp_path / "recipe.yaml", tmp_path / "runs"
    recipe.write_text(dump_yaml(RECIPE))
    run(house, "train", recipe, "--runs", runs, "--name", "toy")
    export = runs / "train" / "toy" / "export"
    spec = json.loads((export / "vlm3.json").read_text())
    assert [task for task in (*NAMES, "nearer") if spec[task] is not None] == ["nearer"]
    assert spec["nearer"]["ask"]["questions"] == 3
    printed = run(house, "benchmark", export, runs / "data" / "rooms", "--runs", runs, "--limit", 6, "--name", "toy")
    assert "accuracy" in printed and "always the first" in printed
    folder = runs / "evaluation" / "toy"
    answers = pq.read_table(next(folder.glob("*/nearer.parquet")))
    # After two steps an answer may end at once.
    assert len(answers) > 6 and any(answers["text"].to_pylist())
    report = json.loads((folder / "report.json").read_text())
    accuracy = {s["by"]: s["value"] for s in report["scores"] if (s["task"], s["metric"]) == ("nearer", "accuracy")}
    assert accuracy.keys() == {"model", "always the first"} and accuracy["always the first"] > 0
