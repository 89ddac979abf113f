"""Which tests share a worker, in which order they run, and which wait for `make test-long`; with xdist and without."""

import json
import os
import tempfile
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.left_out import LEFT_FOR_LONG

RAY = "ray"
"""What uses Ray in the folders below: most of the time of all tests, on one worker and its Ray, from the start."""
RAY_FOLDERS = ("jobs", "pipelines")
STACK = "stack"
"""What uses the session's local stack, whichever files it is in: one worker starts it."""
LONGEST_FIRST = (
    "tests/infra/images/test_build.py",
    "tests/jobs/test_demo.py",
    "tests/pipelines/test_train_killed.py",
    "tests/vlm3/train/test_engine.py",
    "tests/jobs/test_doctor.py",
    "tests/vlm3/doctor/test_posed_views.py",
)
"""Files of a minute and more: started late, they would keep one worker busy while the other has ended."""
LONG_TIMEOUT_S = 1800
_TOLD = "file_of_groups"
_FILE = pytest.StashKey[Path]()

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported: workers share the cores, so each computes on one, and so do the processes it starts.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


class Groups(LoadScopeScheduling):
    """Groups are one piece of work each, any other file is one too, for the fixtures of its module.

    xdist's own groups are lost with pytest 9.2: it writes them into names of tests that can no longer be written.
    """

    def __init__(self, config: pytest.Config, log: object) -> None:
        super().__init__(config, log)  # type: ignore[arg-type]
        self._group_of_test: dict[str, str] = {}

    def schedule(self) -> None:
        # Every worker has collected by now.
        self._group_of_test = json.loads(self.config.stash[_FILE].read_text(encoding="utf-8"))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        return self._group_of_test.get(nodeid) or nodeid.split("::", maxsplit=1)[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Groups:
    return Groups(config, log)


def pytest_configure_node(node: WorkerController) -> None:
    """Only workers collect; the scheduler reads from a file what they found."""
    if _FILE not in node.config.stash:
        handle, name = tempfile.mkstemp(prefix="vlm3_groups_", suffix=".json")
        os.close(handle)
        node.config.stash[_FILE] = Path(name)
    node.workerinput[_TOLD] = str(node.config.stash[_FILE])


def pytest_unconfigure(config: pytest.Config) -> None:
    if _FILE in config.stash:
        config.stash[_FILE].unlink(missing_ok=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests run where they are asked for, by `-m` or by name; the longest group starts first."""
    named = any("::" in argument for argument in config.args)
    left = [] if config.option.markexpr or named else [item for item in items if item.get_closest_marker("long")]
    config.stash[LEFT_FOR_LONG] = len(left)
    if left:
        config.hook.pytest_deselected(items=left)
    for item in items:
        if item.get_closest_marker("long") and not item.get_closest_marker("timeout"):
            # The limit of the others is for what hangs; these take minutes where the machine is busy.
            item.add_marker(pytest.mark.timeout(LONG_TIMEOUT_S))
    left_out = set(left)
    items[:] = _in_turn([item for item in items if item not in left_out])
    told = getattr(config, "workerinput", {}).get(_TOLD)
    if told:
        # In one go: another worker writes the same.
        draft = Path(f"{told}.{os.getpid()}")
        draft.write_text(
            json.dumps({item.nodeid: group for item in items if (group := _group(item))}), encoding="utf-8"
        )
        draft.replace(told)


def _file(item: pytest.Item) -> str:
    return item.nodeid.split("::", maxsplit=1)[0]


def _uses(item: pytest.Item, fixture: str) -> bool:
    return fixture in getattr(item, "fixturenames", ())


def _group(item: pytest.Item) -> str | None:
    """The group that a test belongs to, if any."""
    if _uses(item, "one_stack"):
        return STACK
    return RAY if _uses(item, "ray_session") and item.path.parent.name in RAY_FOLDERS else None


def _in_turn(items: list[pytest.Item]) -> list[pytest.Item]:
    """The Ray group first, then the stack's, then long files, then the others; within each in the order of collection.

    Files that use Ray outside the group come last, for whichever worker is free: one without Ray starts its own.
    """
    last = {_file(item) for item in items if _uses(item, "ray_session") and _group(item) is None}

    def turn(item: pytest.Item) -> int:
        group, file = _group(item), _file(item)
        if group is not None:
            return (RAY, STACK).index(group)
        if file in LONGEST_FIRST:
            return 2 + LONGEST_FIRST.index(file)
        return 2 + len(LONGEST_FIRST) + (file in last)

    return sorted(items, key=turn)
