"""Secrets are made once, for their owner alone."""

import stat
from dataclasses import astuple
from pathlib import Path

import pytest

from infra.local.credentials import Credentials, write_private
from vlm3.errors import DataError


def test_they_are_made_once_and_each_is_another(tmp_path: Path) -> None:
    made = Credentials.of(tmp_path)
    assert Credentials.of(tmp_path) == made
    assert len(set(astuple(made))) == len(astuple(made))
    assert min(map(len, astuple(made))) >= 32
    assert Credentials.of(tmp_path / "other") != made


def test_only_their_owner_reads_them(tmp_path: Path) -> None:
    Credentials.of(tmp_path)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "secrets").iterdir()} == {0o600}


def test_they_are_not_shown(tmp_path: Path) -> None:
    made = Credentials.of(tmp_path)
    assert not any(secret in repr(made) for secret in astuple(made))


def test_one_that_is_lost_is_named_and_not_made_anew(tmp_path: Path) -> None:
    Credentials.of(tmp_path)
    (tmp_path / "secrets" / "s3_secret").unlink()
    with pytest.raises(DataError, match="no file s3_secret; put it back from a backup"):
        Credentials.of(tmp_path)


def test_a_file_that_others_could_read_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "new")
    assert path.read_text() == "new" and stat.S_IMODE(path.stat().st_mode) == 0o600
