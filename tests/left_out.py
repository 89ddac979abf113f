"""What a run of the tests did not run, and why: lines at its end that .ci/run reads. With xdist, of all its workers."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
DEBIAN_PACKAGES = REPOSITORY / "tests" / "debian-packages.txt"
LEFT_FOR_LONG = pytest.StashKey[int]()
"""How many tests wait for `make test-long`."""
NO_DATA = "for want of data: "
NO_COMMAND = "for want of a Debian package: "
"""How the reason of a skip begins; read again at the end, for a fixture's skip has no test of its own."""
_SENT = "left_for_long"


def data_folder() -> Path:
    """VLM3_TEST_DATA, or ../shared/data beside the repository; an empty variable means unset."""
    return Path(os.environ.get("VLM3_TEST_DATA") or REPOSITORY.parent / "shared" / "data").resolve()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real posed images; the test is skipped, and counted, where it does not exist."""
    folder = data_folder()
    if not (folder / "README.md").is_file():
        pytest.skip(f"{NO_DATA}nothing at {folder}; set VLM3_TEST_DATA to a folder that holds it")
    return folder


def packages() -> dict[str, str]:
    """Command: the Debian package that brings it."""
    listed = {}
    for line in DEBIAN_PACKAGES.read_text(encoding="utf-8").splitlines():
        package, _, comment = line.partition("#")
        if package.strip():
            listed |= dict.fromkeys(comment.partition(":")[0].replace(",", " ").split(), package.strip())
    return listed


def need_command(name: str) -> str:
    """Path of a command of a Debian package that tests/debian-packages.txt lists; the test is skipped without it."""
    package = packages()[name]
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{NO_COMMAND}no command {name}: apt-get install {package}")
    return found


@pytest.fixture(scope="session")
def command() -> Callable[[str], str]:
    """`need_command`, for a test."""
    return need_command


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells the controller, which collects nothing itself."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_SENT] = session.config.stash.get(LEFT_FOR_LONG, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    config: pytest.Config = node.config  # type: ignore[attr-defined]
    # Every worker collects the same tests; one that crashed has sent nothing.
    sent: int = getattr(node, "workeroutput", {}).get(_SENT, 0)
    config.stash[LEFT_FOR_LONG] = max(sent, config.stash.get(LEFT_FOR_LONG, 0))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how many tests could not run, and how many were left."""
    reasons = [_reason(report) for report in terminalreporter.stats.get("skipped", [])]

    def count(beginning: str) -> int:
        return sum(reason.startswith(beginning) for reason in reasons)

    write = terminalreporter.write_line
    write(f"skipped {NO_DATA}{count(NO_DATA)} (data folder: {data_folder()})")
    write(f"skipped {NO_COMMAND}{count(NO_COMMAND)} (listed in {DEBIAN_PACKAGES.relative_to(REPOSITORY)})")
    write(f"left for make test-long: {config.stash.get(LEFT_FOR_LONG, 0)}")


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)
