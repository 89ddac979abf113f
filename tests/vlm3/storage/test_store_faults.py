"""A real server behind a proxy that fails as stores do: reads stay exact, are counted, and end in bounded time."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace

import pytest

from tests.fault_proxy import Fault, Faults, Proxied
from tests.frames import assert_same_frame
from tests.shard_fixtures import write_source
from vlm3.errors import DataError
from vlm3.scenes.schema import Frame
from vlm3.scenes.sharded import DEPTH_COLUMNS, ShardedSource
from vlm3.storage import limiter, retrying, store
from vlm3.storage.counters import storage_use
from vlm3.storage.failures import Reason, StorageError
from vlm3.storage.limiter import limit_of
from vlm3.storage.read_ahead import read_ahead
from vlm3.storage.split import Split

BAD_DAY = {Fault.SLOW_DOWN: 0.05, Fault.RESET: 0.01, Fault.TRUNCATED: 0.02, Fault.SHORT: 0.02, Fault.SLOW: 0.02}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses a tenth as long."""
    monkeypatch.setattr(retrying, "FIRST_PAUSE_S", 0.02)


@pytest.fixture
def pauses_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were meant to be made; none is."""
    pauses_s: list[float] = []
    monkeypatch.setattr(retrying, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses_s.append))
    return pauses_s


def read_all(source: ShardedSource, depth: int) -> list[tuple[Frame, ...]]:
    def reading(clip: int) -> Callable[[], tuple[Frame, ...]]:
        return lambda: source.read_clip(Split.TRAIN, clip, DEPTH_COLUMNS)

    with closing(read_ahead(map(reading, range(source.clips(Split.TRAIN))), depth)) as clips:
        return list(clips)


@pytest.mark.usefixtures("quick")
def test_on_a_bad_day_every_clip_is_what_it_is_on_a_good_one(proxied: Proxied) -> None:
    uri = write_source(proxied.store, shards=60, clips=3, frames=1, image_bytes=2000).uri
    proxied.proxy.reset(Faults(BAD_DAY, seed=3))
    before = storage_use()
    source = ShardedSource.open(uri)
    disturbed = [clip for _ in range(2) for clip in read_all(source, depth=8)]
    used, met = storage_use().since(before), Counter(proxied.proxy.met)
    proxied.proxy.reset(Faults())
    undisturbed = read_all(ShardedSource.open(uri), depth=1)
    assert len(undisturbed) == 180 and len(disturbed) == 360
    for found, expected in zip(disturbed, undisturbed * 2, strict=True):
        for frame, same in zip(found, expected, strict=True):
            assert_same_frame(frame, same)
    assert min(met[fault] for fault in BAD_DAY) > 0, "each kind was met"
    assert used.retries[Reason.SLOW_DOWN] == met[Fault.SLOW_DOWN]
    # aiohttp itself sends a request again whose kept connection turns out to be closed.
    assert used.retries.get(Reason.CONNECTION, 0) <= met[Fault.RESET]
    assert 0 < used.retries[Reason.BROKEN_BODY] <= met[Fault.TRUNCATED] + met[Fault.SHORT]
    assert used.requests > 360 and used.backoff_s > 0
    assert proxied.proxy.lists == 0


@pytest.mark.usefixtures("quick")
def test_writes_survive_a_bad_day_too(proxied: Proxied) -> None:
    proxied.proxy.reset(Faults({Fault.SLOW_DOWN: 0.15, Fault.RESET: 0.05, Fault.TRUNCATED: 0.05}, seed=1))
    contents = {f"file-{i}": os.urandom(1000 + i) for i in range(40)}
    for path, data in contents.items():
        proxied.store.write_atomic(path, data)
    assert proxied.proxy.met.total() > 5
    proxied.proxy.reset(Faults())
    assert {path: proxied.store.read(path) for path in proxied.store.list()} == contents


def test_a_store_that_always_fails_ends_with_one_error_in_bounded_time(proxied: Proxied, pauses_s: list[float]) -> None:
    proxied.store.write_atomic("x", bytes(1000))
    proxied.proxy.reset(Faults({Fault.SLOW_DOWN: 1.0}))
    tried = r"given up after 8 attempts in \d+ s: 8 x slow down"
    with pytest.raises(StorageError, match=rf"{proxied.store.uri}/x: .*{tried}"):
        proxied.store.read_range("x", 0, 1000)
    assert len(pauses_s) == 7
    assert all(0 <= pause_s <= 0.2 * 2**retry for retry, pause_s in enumerate(pauses_s)), "25.4 s at most"


@pytest.mark.usefixtures("quick")
def test_a_server_that_says_nothing_runs_into_the_read_timeout(
    proxied: Proxied, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxied.store.write_atomic("x", bytes(1000))
    monkeypatch.setattr(store, "READ_TIMEOUT_S", 0.5)
    store._connected.cache_clear()
    proxied.proxy.reset(Faults({Fault.SLOW: 1.0}, slow_s=60.0, stop_after=2))
    before = storage_use()
    assert proxied.store.read_range("x", 0, 1000) == bytes(1000)
    retries = storage_use().since(before).retries
    # On a busy machine a good answer may come too late as well.
    assert set(retries) == {Reason.TIMEOUT} and retries[Reason.TIMEOUT] >= 2


def test_the_stores_retry_after_is_honoured(proxied: Proxied, pauses_s: list[float]) -> None:
    proxied.store.write_atomic("x", bytes(10))
    proxied.proxy.reset(Faults({Fault.SLOW_DOWN: 1.0}, retry_after_s=2, stop_after=1))
    before = storage_use()
    assert proxied.store.read_range("x", 0, 10) == bytes(10)
    assert pauses_s == [2.0], "longer than the first pause by itself"
    assert storage_use().since(before).backoff_s == 2


def test_what_is_missing_or_refused_is_asked_for_once(proxied: Proxied, monkeypatch: pytest.MonkeyPatch) -> None:
    proxied.store.write_atomic("x", bytes(10))
    proxied.proxy.reset(Faults())
    with pytest.raises(DataError, match="no such object"):
        proxied.store.read_range("y", 0, 10)
    assert proxied.proxy.requests == 1
    assert proxied.store.size("y") is None
    assert proxied.proxy.methods == {"GET": 1, "HEAD": 1} and proxied.proxy.lists == 0
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match="refuses access"):
        proxied.store.read_range("x", 0, 10)
    assert proxied.proxy.requests == 3


def test_a_short_file_is_told_from_a_short_answer(proxied: Proxied) -> None:
    proxied.store.write_atomic("x", bytes(10))
    proxied.proxy.reset(Faults({Fault.SHORT: 1.0}, stop_after=1))
    assert proxied.store.read_range("x", 0, 10) == bytes(10), "the answer was short: asked again"
    for offset in (5, 10, 500):
        with pytest.raises(DataError, match="truncated"):
            proxied.store.read_range("x", offset, 10)


@pytest.mark.usefixtures("quick")
def test_refusals_lower_what_is_in_flight_and_good_answers_raise_it(proxied: Proxied) -> None:
    proxied.store.write_atomic("x", bytes(100))
    limit = limit_of(proxied.store.uri, os.environ["AWS_ENDPOINT_URL_S3"])

    def read(_: int) -> bytes:
        return proxied.store.read_range("x", 0, 100)

    with ThreadPoolExecutor(32) as pool:
        proxied.proxy.reset(Faults(latency_s=0.02))
        list(pool.map(read, range(64)))
        assert proxied.proxy.most_in_flight <= limit.limit <= limiter.START_IN_FLIGHT + 5
        proxied.proxy.reset(Faults({Fault.SLOW_DOWN: 0.5}, latency_s=0.02, stop_after=40))
        before = storage_use()
        lowest = list(pool.map(lambda i: (read(i), limit.limit)[1], range(100)))
        assert min(lowest) < limiter.START_IN_FLIGHT / 2
        used = storage_use().since(before)
        assert used.limit_wait_s > 0 and used.limits[proxied.store.uri] == limit.limit
        low = limit.limit
        proxied.proxy.reset(Faults())
        list(pool.map(read, range(300)))
        assert limit.limit > low


def test_threads_that_start_at_once_share_one_set_of_connections(proxied: Proxied) -> None:
    proxied.store.write_atomic("x", bytes(100))
    store._connected.cache_clear()
    together = threading.Barrier(12)

    def read(_: int) -> int:
        together.wait(10)
        return id(store._s3(store._s3_settings()))

    with ThreadPoolExecutor(12) as pool:
        assert len(set(pool.map(read, range(12)))) == 1
