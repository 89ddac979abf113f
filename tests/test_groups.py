"""How tests are shared out and what their last lines say, in a small suite of its own with two workers or none."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.groups import LONGEST_FIRST

ROOT = Path(__file__).resolve().parent.parent
CONFTEST = """
import os, time
from pathlib import Path
import pytest
pytest_plugins = ("tests.left_out", "tests.groups")

@pytest.fixture(scope="session")
def ray_session(): ...

@pytest.fixture(scope="session")
def one_stack(): ...

@pytest.fixture(scope="module")
def through_a_module(data_dir): ...

@pytest.fixture(autouse=True)
def noted(request):
    name = request.node.name
    with Path("notes").open("a") as notes:
        notes.write(f"{os.environ.get('PYTEST_XDIST_WORKER')} {request.path.stem} {name}\\n")
    yield
    # Neither worker runs dry before the other has begun.
    time.sleep(0.2)
"""
PLAIN = "def test_one(): ...\ndef test_two(): ...\ndef test_three(): ..."
FILES = {
    "test_a.py": PLAIN,
    "jobs/test_b.py": f"{PLAIN}\ndef test_ray(ray_session): ...",
    "pipelines/test_c.py": "import pytest\n@pytest.mark.long\ndef test_long(): ...\ndef test_ray(ray_session): ...",
    "test_d.py": "def test_data(data_dir): ...\ndef test_module(through_a_module): ...",
    "test_e.py": "import os\ndef test_threads():\n"
    "    assert os.environ.get('OMP_NUM_THREADS') == ('1' if 'PYTEST_XDIST_WORKER' in os.environ else None)",
    "serve/test_a_server.py": "def test_served(ray_session): ...",
    "infra/local/test_stack.py": "def test_used(one_stack): ...",
    "infra/test_stack_ends.py": "def test_ended(one_stack): ...",
    "test_f.py": "from tests.left_out import need_command\ndef test_git(): need_command('git')",
}
TWO = ("-n", "2", "--dist", "loadscope", "--no-loadscope-reorder")
Note = tuple[str, str, str]


def run(folder: Path, *arguments: str, path: str | None = None) -> tuple[str, list[Note]]:
    """What a run printed, and (worker, file, test) of all that ran, in order."""
    folder.mkdir()
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = long: x\n")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    unset = ("OMP_NUM_THREADS", "PYTEST_ADDOPTS")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST") and k not in unset}
    environment = inherited | {"PYTHONPATH": str(ROOT), "VLM3_TEST_DATA": str(folder / "nothing")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment | ({} if path is None else {"PATH": path}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, [tuple(line.split()) for line in (folder / "notes").read_text().splitlines()]  # type: ignore[misc]


@pytest.mark.parametrize("shared_out", [TWO, ()], ids=["two workers", "one process"])
def test_what_uses_ray_shares_a_worker_and_comes_first_and_the_last_lines_count(
    tmp_path: Path, shared_out: tuple[str, ...]
) -> None:
    printed, notes = run(tmp_path / "suite", *shared_out, path=str(tmp_path))
    assert len({worker for worker, *_ in notes}) == (2 if shared_out else 1)
    rays = [note for note in notes if note[2] == "test_ray"]
    assert [file for _, file, _ in rays] == ["test_b", "test_c"]
    assert len({worker for worker, *_ in rays}) == 1
    own = [note for note in notes if note[0] == rays[0][0]]
    assert own[:2] == rays, "the longest group comes first"
    (first, used), (second, ended) = [(worker, name) for worker, file, name in notes if file.startswith("test_stack")]
    assert first == second and (used, ended) == ("test_used", "test_ended"), "the files of one stack stay together"
    (server,) = [worker for worker, _, name in notes if name == "test_served"]
    assert [name for worker, _, name in notes if worker == server][-1] == "test_served", (
        "what uses Ray elsewhere is last"
    )
    for file in ("test_a", "test_b"):
        workers = [worker for worker, of, name in notes if of == file and name != "test_ray"]
        assert len(workers) == 3 and len(set(workers)) == 1, "a file stays together"
    assert "test_long" not in {name for *_, name in notes}
    lines = printed.splitlines()
    assert any(line.startswith("skipped for want of data: 2 (data folder: ") for line in lines)
    assert "skipped for want of a Debian package: 1 (listed in tests/debian-packages.txt)" in lines
    assert "left for make test-long: 1" in lines
    assert re.search(r"12 passed, 3 skipped", lines[-1])


def test_long_tests_run_where_they_are_asked_for(tmp_path: Path) -> None:
    for number, arguments in enumerate((["-m", "long"], ["pipelines/test_c.py::test_long"])):
        printed, notes = run(tmp_path / str(number), *arguments)
        assert [name for *_, name in notes] == ["test_long"]
        assert "left for make test-long: 0" in printed.splitlines()


def test_the_files_that_start_first_exist() -> None:
    assert [file for file in LONGEST_FIRST if not (ROOT / file).is_file()] == []
