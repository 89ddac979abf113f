"""Secrets of the stack: made at its first start, kept in files that only their owner can read."""

import os
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from vlm3.errors import DataError

FOLDER = "secrets"
ADMIN = "admin"
"""User of MLflow."""


@dataclass(frozen=True)
class Credentials:
    """Each field is the content of the file of its name."""

    postgres_password: str
    s3_key_id: str
    s3_secret: str
    mlflow_password: str
    mlflow_session_key: str
    ray_token: str

    def __repr__(self) -> str:
        """No secret, so that no traceback or log shows one."""
        return "Credentials(…)"

    @classmethod
    def of(cls, stack: Path) -> Self:
        """Those of a stack; made, if its folder holds none.

        Raises:
            DataError: some are missing. New ones would not open what the old ones have locked.
        """
        folder = stack / FOLDER
        names = [field.name for field in fields(cls)]
        missing = [name for name in names if not (folder / name).is_file()]
        if not folder.is_dir():
            made = folder.with_name(f"{FOLDER}.new")
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in names:
                write_private(made / name, secrets.token_hex(24))
            made.rename(folder)
        elif missing:
            raise DataError(
                f"{folder}: no file {missing[0]}; put it back from a backup, or remove {stack} to begin anew without"
                " its data"
            )
        return cls(*((folder / name).read_text(encoding="utf-8") for name in names))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    new.rename(path)
