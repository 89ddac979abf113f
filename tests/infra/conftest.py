"""One stack for all tests that need a whole one: jobs are submitted to it, then it is ended in every way."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from infra.local.settings import ROOT
from infra.local.state import running_state
from tests.infra.local.stacks import Stack, a_stack
from tests.infra.monitoring.prometheus_server import Prometheus, prometheus
from tests.jobs.test_tune_job import RECIPE, SEARCH
from tests.pipelines.test_cluster_listeners import listeners
from tests.ray_heads import RAY, SMALL
from vlm3.config import dump_yaml


@dataclass
class Seen:
    """What could be seen of a stack's processes while jobs ran."""

    listeners: set[tuple[str, str]] = field(default_factory=set)
    command_lines: set[str] = field(default_factory=set)

    def look(self, stack: Stack) -> None:
        self.listeners |= listeners(psutil.Process(stack.state.keeper))
        self.command_lines |= stack.command_lines()


@dataclass(frozen=True)
class Used:
    """A stack that jobs were submitted to."""

    stack: Stack
    up_s: float
    seen: Seen
    watching: Prometheus
    """Another Prometheus beside it, which looks every 2 s: jobs of tests are short."""


@pytest.fixture(scope="session")
def one_stack() -> Iterator[Stack]:
    """The stack of all tests; it need not run."""
    with a_stack() as stack:
        yield stack


@pytest.fixture
def stack_up(one_stack: Stack) -> Stack:
    """It runs."""
    if running_state(one_stack.folder) is None:
        one_stack.up()
    return one_stack


@pytest.fixture(scope="session")
def used(one_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    """After a training of some steps and a search of one trial."""
    recipes = tmp_path_factory.mktemp("recipes")
    (recipes / "tiny.yaml").write_text(dump_yaml(RECIPE))
    (recipes / "search.yaml").write_text(dump_yaml(SEARCH))
    up_s = one_stack.up()
    ray_folder, folder = Path(one_stack.state.ray_folder), tmp_path_factory.mktemp("prometheus")
    with prometheus(ray_folder, folder) as watching:
        watching.wait_for('up{job="ray"} == 1')
        with looked_at(one_stack) as seen:
            # More than two steps, so that a busy machine looks at them more than once.
            settings = [word for setting in (*SMALL, "train.steps=8") for word in ("--set", setting)]
            submit(one_stack, "jobs/train.py", "--name", "submitted", "--continue", *settings)
            submit(one_stack, "jobs/tune.py", recipes / "search.yaml", "--name", "searched", "--set", "trials=1")
        yield Used(one_stack, up_s, seen, watching)


def submit(stack: Stack, *command: str | Path) -> None:
    """`ray job submit`, with nothing but what the file for clients says."""
    done = subprocess.run(
        [RAY, "job", "submit", "--", "python", *command],
        cwd=ROOT,
        env=stack.client(),
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@contextmanager
def looked_at(stack: Stack) -> Iterator[Seen]:
    """Look at the processes again and again while the block runs.

    Raises:
        Exception: what went wrong while looking.
    """
    seen, ended, errors = Seen(), threading.Event(), list[Exception]()

    def look() -> None:
        # A look takes a core for a while.
        try:
            while not ended.wait(3.0):
                seen.look(stack)
        except Exception as error:  # noqa: BLE001 - raised again below, by the test
            errors.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
    for error in errors:
        raise error
