"""Requests and answers as files: whole or not at all, one at a time, and strict about what they say."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from vlm3.config import dump_yaml
from vlm3.errors import ConfigError
from vlm3.mixture import requests
from vlm3.mixture.requests import (
    OUTCOME_FILE,
    REQUEST_FILE,
    SETTLED_NS,
    WeightsOutcome,
    WeightsRequest,
    read_request,
    submit_request,
    wait_for_outcome,
)


class Clock:
    """Time that passes when someone sleeps; after some pauses, something happens."""

    def __init__(self, after: int = 0, happens: Callable[[], None] = lambda: None) -> None:
        self.now_s, self.pauses, self.after, self.happens = 0.0, 0, after, happens

    def monotonic(self) -> float:
        """Now."""
        return self.now_s

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now_s += seconds
        self.pauses += 1
        if self.pauses == self.after:
            self.happens()


def write_by_hand(path: Path, text: str, earlier_ns: int = 0) -> None:
    """A file that has been left alone for a while, and longer."""
    path.write_text(text)
    os.utime(path, ns=(0, path.stat().st_mtime_ns - SETTLED_NS - earlier_ns))


def test_what_was_submitted_is_read_and_nothing_else_is_left(tmp_path: Path) -> None:
    name = submit_request(tmp_path, {"rooms/depth": 0.4})
    request = read_request(tmp_path / REQUEST_FILE)
    assert (request.id, request.weights) == (name, {"rooms/depth": 0.4})
    assert request.asked_at is not None and request.asked_at.endswith("+00:00")
    assert [path.name for path in tmp_path.iterdir()] == [REQUEST_FILE]


def test_a_request_that_waits_is_not_replaced(tmp_path: Path) -> None:
    submit_request(tmp_path, {"rooms/depth": 0.4})
    before = (tmp_path / REQUEST_FILE).read_bytes()
    with pytest.raises(ConfigError, match="another request waits there"):
        submit_request(tmp_path, {"rooms/depth": 0.9})
    assert (tmp_path / REQUEST_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [REQUEST_FILE]


def test_of_many_who_ask_at_once_one_is_heard(tmp_path: Path) -> None:
    heard: list[str] = []

    def ask(weight: float) -> None:
        with suppress(ConfigError):
            heard.append(submit_request(tmp_path, {"rooms/depth": weight}))

    threads = [threading.Thread(target=ask, args=(float(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [read_request(tmp_path / REQUEST_FILE).id] == heard


def test_a_request_written_by_hand_is_told_apart_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / REQUEST_FILE
    write_by_hand(path, "weights: {rooms/depth: 1}\n", earlier_ns=10**9)
    first = read_request(path)
    assert first == read_request(path) and first.weights == {"rooms/depth": 1.0}
    write_by_hand(path, "weights: {rooms/depth: 1}\n")
    assert read_request(path).id != first.id


@pytest.mark.parametrize("text", ["weights: {rooms/depth: 1}\n", "weights:\n  rooms/depth: 1\n", "weights: {rooms/de"])
def test_a_file_that_somebody_may_still_be_writing_is_no_request_yet(tmp_path: Path, text: str) -> None:
    path = tmp_path / REQUEST_FILE
    path.write_text(text)
    assert read_request(path) is None
    path.write_text("weights: {rooms/depth: 1, street/depth: 2}\n")
    os.utime(path, ns=(0, path.stat().st_mtime_ns - SETTLED_NS))
    assert read_request(path).weights == {"rooms/depth": 1.0, "street/depth": 2.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights: {}", "weights"),
        ("weight: {rooms/depth: 1}", "did you mean 'weights'"),
        ("weights: {rooms/depth: much}", "weights.rooms/depth"),
        ("weights: [", "cannot be read as YAML"),
    ],
)
def test_what_is_no_request_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / REQUEST_FILE
    write_by_hand(path, text)
    with pytest.raises(ConfigError, match=message) as raised:
        read_request(path)
    assert REQUEST_FILE in str(raised.value)


def test_waiting_ends_with_the_answer_to_this_request_or_with_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(name: str) -> None:
        outcome = WeightsOutcome(id=name, from_position=64, step=5)
        (tmp_path / OUTCOME_FILE).write_text(dump_yaml(outcome.model_dump(mode="json")))

    answer("an older one")
    clock = Clock()
    monkeypatch.setattr(requests, "time", clock)
    assert wait_for_outcome(tmp_path, "mine", 3.0) is None
    assert 3.0 <= clock.now_s < 4.0
    clock = Clock(after=5, happens=lambda: answer("mine"))
    monkeypatch.setattr(requests, "time", clock)
    assert wait_for_outcome(tmp_path, "mine", 30) == WeightsOutcome(id="mine", from_position=64, step=5)
    assert clock.pauses == 5


def test_requests_are_strict() -> None:
    with pytest.raises(ConfigError, match="unknown key 'whights'"):
        WeightsRequest.parse({"whights": {}}, "x")
