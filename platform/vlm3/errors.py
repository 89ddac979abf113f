"""Errors that a user can act on: each is one line that says what was expected, what was found, where and what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """An error that the user can correct. Jobs print it as one line and exit with code 2."""


class ConfigError(UserError):
    """A recipe, flag or environment variable is wrong."""


class DataError(UserError):
    """A source, shard, frame or manifest is missing, empty or damaged."""


class DamagedError(DataError):
    """Stored data cannot be read: its bytes are as stored, or were wrong in two reads. Reading again will not help."""


class CheckpointError(UserError):
    """A checkpoint is missing, incomplete or belongs to another recipe."""


class IncompleteCheckpointError(CheckpointError):
    """A checkpoint was still being written when its run stopped. The run can continue from an older one."""


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate whose spelling is closest to `word`; None if none is close."""
    return next(iter(difflib.get_close_matches(word, sorted(candidates), n=1, cutoff=0.5)), None)


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Text to add to an error on an unknown name: `; did you mean 'x'?` if one is close, else all valid names."""
    names = sorted(candidates)
    close = closest(word, names)
    if close is not None:
        return f"; did you mean {close!r}?"
    return f"; valid: {', '.join(names)}" if names else ""
