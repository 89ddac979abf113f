"""The rules of the house: who may import whom, how files are called and how long they may be."""

import ast
import importlib.util
import re
import runpy
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PRODUCT = {"vlm3": ROOT / "platform" / "vlm3", "pipelines": ROOT / "pipelines", "serve": ROOT / "serve"}
SOURCES = {**PRODUCT, "jobs": ROOT / "jobs"}
TREES = (*SOURCES.values(), ROOT / "infra", ROOT / "bench", ROOT / "tests")
MAX_LINES = 400

BASE = ("vlm3", "vlm3.config", "vlm3.errors", "vlm3.seeds", "vlm3.log", "vlm3.heap", "vlm3.terminal", "vlm3.job")
BASE += ("vlm3.backoff",)
"""May be imported from everywhere, and import only each other."""
PACKAGES = ["geometry", "storage", "metrics", "scenes", "sources", "views", "asking", "pictures", "benchmarks", "tasks"]
PACKAGES += ["tokens", "models", "mixture", "infer", "evaluation", "tracking", "doctor", "stream", "train", "search"]
ORDER = [*(f"vlm3.{package}" for package in PACKAGES), "pipelines", "serve", "jobs.recipes", "jobs"]
"""A module may import from its own package and from those before it."""

RAY_ALLOWED = re.compile(r"(pipelines|jobs|serve)\..*|vlm3\.train\.(worker|gauges)|vlm3\.search\.ray_tune")
DEEPSPEED_ALLOWED = re.compile(r"vlm3\.train\.engine")
OPTIONAL_IMPORTS = {"evaluate", "datasets", "accelerate", "peft", "wandb"}
"""Packages that our libraries import where they are installed; they need not be installed here."""


def modules(sources: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """(dotted name, file) of every module."""
    for name, folder in sources.items():
        for file in sorted(folder.rglob("*.py")):
            parts = [name, *file.relative_to(folder).with_suffix("").parts]
            yield ".".join(parts).removesuffix(".__init__"), file


def rank(module: str) -> int | None:
    """Place of a module in the order of imports; None for a module that is not ours."""
    if module in BASE:
        return -1
    return next((i for i, package in enumerate(ORDER) if module == package or module.startswith(f"{package}.")), None)


def imports(source: str) -> Iterator[str]:
    """Dotted names of all that is imported anywhere in a file, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import; name the module in full"
            # `from vlm3 import scenes` imports vlm3.scenes.
            yield from (
                f"{node.module}.{alias.name}" if node.module == "vlm3" else str(node.module) for alias in node.names
            )


def faults(module: str, source: str) -> list[str]:
    """Imports of a module that the rules forbid."""
    own = rank(module)
    assert own is not None, f"{module} has no place in the order of imports"
    job_names = {file.stem for file in SOURCES["jobs"].glob("*.py")}
    found = []
    for imported in imports(source):
        top = imported.split(".")[0]
        other = rank(imported)
        if other is not None and other > own:
            found.append(f"{module} imports {imported}, which comes after it")
        if module.startswith("jobs.") and (imported.removeprefix("jobs.") in job_names):
            found.append(f"{module} imports the job {imported}")
        if top == "ray" and not RAY_ALLOWED.fullmatch(module):
            found.append(f"{module} imports {imported}")
        if top == "deepspeed" and not DEEPSPEED_ALLOWED.fullmatch(module):
            found.append(f"{module} imports {imported}")
    return found


def test_imports_point_one_way() -> None:
    assert [fault for module, file in modules(SOURCES) for fault in faults(module, file.read_text())] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("vlm3.errors", "import vlm3.geometry.camera"),
        ("vlm3.geometry.camera", "def f():\n    from vlm3.scenes.schema import Frame"),
        ("vlm3.geometry.camera", "if True:\n    from vlm3 import scenes"),
        ("vlm3.search.space", "import pipelines.train"),
        ("pipelines.train", "import serve.app"),
        ("serve.app", "import jobs.train"),
        ("jobs.tune", "from jobs.train import main"),
        ("jobs.tune", "from train import main"),
        ("vlm3.train.loop", "import ray"),
        ("vlm3.train.worker", "from deepspeed.runtime import engine"),
    ],
)
def test_the_guard_of_imports_sees_what_is_forbidden(module: str, source: str) -> None:
    assert len(faults(module, source)) == 1


def test_the_guard_of_imports_lets_pass_what_is_allowed() -> None:
    allowed = "import numpy\nfrom vlm3 import errors\nfrom vlm3.geometry.camera import Camera\nimport vlm3.train.loop"
    assert faults("vlm3.train.worker", f"{allowed}\nimport ray.train") == []
    assert faults("jobs.train", f"{allowed}\nimport serve.app, pipelines.train, ray") == []


def test_what_reads_and_decodes_loads_neither_torch_nor_transformers() -> None:
    # Either takes a second and 200 MB in each of a node's decoding processes.
    heavy = "print([name for name in ('torch', 'transformers', 'mlflow', 'deepspeed') if name in sys.modules])"
    script = f"import sys; sys.path[:0] = ['platform', '.']; import pipelines.stream, pipelines.weights; {heavy}"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_package_of_the_science_has_its_place_in_the_order() -> None:
    folders = {folder.name for folder in PRODUCT["vlm3"].iterdir() if (folder / "__init__.py").exists()}
    assert folders - set(PACKAGES) == set()


def test_the_standard_librarys_platform_is_not_shadowed() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()
    assert not (ROOT / "tests" / "platform").exists()
    script = "import sys; sys.path.insert(0, ''); import platform; platform.system(); print(platform.__file__)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_files_have_one_subject_and_no_grab_bag() -> None:
    files = [file for tree in TREES for file in tree.rglob("*.py")]
    assert len(files) > 50
    lengths = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}
    assert [name for name in lengths if "util" in Path(name).stem] == []


def test_no_job_shadows_a_package_that_can_be_imported() -> None:
    # Scripts in jobs/ run with jobs/ first on sys.path.
    names = [file.stem for file in SOURCES["jobs"].glob("*.py")]
    assert names
    assert [name for name in names if name in OPTIONAL_IMPORTS or importlib.util.find_spec(name)] == []


def test_test_files_mirror_modules() -> None:
    strays = []
    for name, folder in SOURCES.items():
        for file in (ROOT / "tests" / name).rglob("test_*.py"):
            mirrored = folder / file.parent.relative_to(ROOT / "tests" / name)
            subject = file.stem.removeprefix("test_")
            # test_unify.py and test_unify_antialias.py are both of unify.py.
            if not any(subject == m.stem or subject.startswith(f"{m.stem}_") for m in mirrored.glob("*.py")):
                strays.append(str(file.relative_to(ROOT)))
    assert strays == []


def test_what_is_public_is_documented() -> None:
    bare = []
    for module, file in modules(PRODUCT):
        tree = ast.parse(file.read_text())
        bare += [f"{module}.{name}" for name, node in public(tree, "") if not ast.get_docstring(node)]
    assert bare == []


Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def public(node: Documented, name: str) -> Iterator[tuple[str, Documented]]:
    """A module, its public classes and functions, and the public methods of its public classes."""
    yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for child in node.body:
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and child.name[0] != "_":
                yield from public(child, f"{name}.{child.name}".strip("."))


@pytest.mark.parametrize("file", sorted((ROOT / "bench").rglob("bench_*.py")), ids=lambda file: file.stem)
def test_benchmarks_can_be_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    assert any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)
    # A script's own folder is on its path, for the modules beside it.
    monkeypatch.syspath_prepend(file.parent)
    # Loads it with all its imports; what is under `if __name__ == "__main__"` stays unrun.
    assert callable(runpy.run_path(str(file), run_name="loaded")["main"])


def test_pins_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ranges = [Requirement(line) for line in project["dependencies"]]
    tools = [Requirement(line) for extra in project["optional-dependencies"].values() for line in extra]
    pinned, locked = (pins((ROOT / file).read_text()) for file in ("constraints.txt", "requirements.lock"))
    for name, version in pinned.items():
        assert locked.get(name, version) == version, f"{name}: `make lock` is to be run again"
    for asked in ranges:
        name = canonicalize_name(asked.name)
        assert asked.specifier.contains(pinned[name]), f"{asked}: constraints.txt has {pinned[name]}"
        assert name in locked, f"{asked}: `make lock` is to be run again"
    exact = {canonicalize_name(tool.name) for tool in tools if str(tool.specifier).startswith("==")}
    for tool in tools:
        version = pinned[canonicalize_name(tool.name)]
        assert tool.specifier.contains(version), f"{tool}: constraints.txt has {version}"
    # Only what an MLflow server needs is given as a range, for users; the tests have it at its pin.
    assert {canonicalize_name(tool.name) for tool in tools} == exact


def test_the_environment_does_not_slow_down_the_start_of_ray() -> None:
    # jsonschema imports it where it is installed, and each of Ray's processes imports jsonschema.
    assert importlib.util.find_spec("rfc3987_syntax") is None, "makes a grammar when it is imported, for 1.4 s"


def pins(text: str) -> dict[str, str]:
    """Version of each package that a list of exact pins names."""
    lines = [line for line in text.splitlines() if line and line[0] not in "# "]
    assert lines and all("==" in line for line in lines)
    return {canonicalize_name(name): rest.split(" ")[0] for name, rest in (line.split("==", 1) for line in lines)}
