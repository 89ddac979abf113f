"""Errors of users, and the names they may have meant."""

import pytest

from vlm3.errors import CheckpointError, ConfigError, DataError, UserError, closest, nearest


@pytest.mark.parametrize("kind", [ConfigError, DataError, CheckpointError])
def test_every_kind_is_an_error_of_the_user(kind: type[Exception]) -> None:
    assert issubclass(kind, UserError)


def test_an_unknown_name_gets_the_nearest_or_all_valid_ones() -> None:
    assert nearest("romos", ["street", "rooms"]) == "; did you mean 'rooms'?"
    assert (closest("romos", ["street", "rooms"]), closest("zzz", ["street", "rooms"])) == ("rooms", None)
    assert nearest("xyz", ["street", "rooms"]) == "; valid: rooms, street"
    assert nearest("xyz", []) == ""
