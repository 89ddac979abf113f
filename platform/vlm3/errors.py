"""Errors a user can act on: one line that says what was expected, what was found, where, and what to do."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user can put right. Jobs print it as one line and exit with code 2."""


class ConfigError(UserError):
    """A recipe, flag or environment variable is wrong."""


class DataError(UserError):
    """A source, shard, frame or manifest is missing, empty or damaged."""


class DamagedError(DataError):
    """The bytes are what was stored, or were wrong twice, and cannot be read: reading again will not help."""


class CheckpointError(UserError):
    """A checkpoint is missing, incomplete or belongs to another recipe."""


class IncompleteCheckpointError(CheckpointError):
    """A checkpoint that was being written when its run stopped: an older one continues the run."""


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that is spelt most like a word; None where none is much like it."""
    return next(iter(difflib.get_close_matches(word, sorted(candidates), n=1, cutoff=0.5)), None)


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Text for an unknown name: `; did you mean 'x'?` where one is close, the valid names where none is."""
    names = sorted(candidates)
    close = closest(word, names)
    if close is not None:
        return f"; did you mean {close!r}?"
    return f"; valid: {', '.join(names)}" if names else ""
