"""A backup, or a restore, that fails leaves nothing, and touches nothing that is the user's."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from infra.local.backup import ARTIFACTS, DUMP, KEPT_SECRETS, restore, save
from infra.local.credentials import Credentials
from infra.local.settings import Ports, Settings
from pipelines.cluster import free_port
from tests.left_out import need_command
from vlm3.errors import DataError, UserError


@contextmanager
def nothing_changes(folder: Path) -> Iterator[None]:
    """What lies in a folder is the same afterwards."""

    def content() -> dict[Path, str | None]:
        return {path: path.read_text() if path.is_file() else None for path in folder.rglob("*")}

    before = content()
    yield
    assert content() == before


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    """A folder where a user keeps his own files, by the names of unfinished backups and restores."""
    folder = tmp_path / "backups"
    for name in ("monday.part", "stack.restored"):
        (folder / name).mkdir(parents=True)
        (folder / name / "mine").write_text("mine")
    return folder


def a_stack(folder: Path) -> Settings:
    """One whose database does not run."""
    need_command("pg_ctlcluster")
    return Settings(folder, Ports(postgres=free_port()), 4)


def test_a_backup_that_fails_leaves_nothing_and_removes_no_folder_of_the_user(tmp_path: Path, backups: Path) -> None:
    settings = a_stack(tmp_path / "stack")
    Credentials.of(settings.folder)
    with nothing_changes(backups), pytest.raises(DataError, match="pg_dump ended with code 1"):
        save(settings, backups / "monday")


def test_a_restore_that_fails_leaves_nothing_and_removes_no_folder_of_the_user(tmp_path: Path, backups: Path) -> None:
    source = tmp_path / "source"
    (source / ARTIFACTS).mkdir(parents=True)
    for name in (DUMP, *KEPT_SECRETS):
        (source / name).write_text("no dump")
    # As root, PostgreSQL's account cannot enter the folder; as another user, what is restored is no dump.
    with nothing_changes(backups), pytest.raises(UserError, match=r"initdb failed|pg_restore ended with code 1"):
        restore(a_stack(backups / "stack"), source)
