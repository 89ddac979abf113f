"""Counts add up from any number of threads, and a task's own use is a difference."""

import pickle
import threading

import pytest

from vlm3.storage.counters import Counters, StorageUse, storage_use
from vlm3.storage.failures import Reason
from vlm3.storage.store import open_store


def test_counts_of_many_threads_add_up() -> None:
    counters = Counters()

    def work() -> None:
        for _ in range(1000):
            counters.add_request(0.5)
            counters.add_bytes(read=3, written=2)
            counters.add_retry(Reason.TIMEOUT, 0.25)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.snapshot() == StorageUse(8000, 24000, 16000, {Reason.TIMEOUT: 8000}, 2000.0, 4000.0, {})


def test_since_leaves_what_was_used_between_two_moments() -> None:
    counters = Counters()
    counters.add_request(1.0)
    counters.add_retry(Reason.SLOW_DOWN, 1.0)
    counters.set_limit("s3://a", 8)
    earlier = counters.snapshot()
    counters.add_request(0.5)
    counters.add_bytes(read=7)
    counters.add_retry(Reason.CONNECTION, 2.0)
    counters.set_limit("s3://a", 4)
    used = counters.snapshot().since(earlier)
    assert used == StorageUse(1, 7, 0, {Reason.CONNECTION: 1}, 2.0, 0.5, {"s3://a": 4})
    assert earlier.limits == {"s3://a": 8}, "a snapshot does not move"
    assert pickle.loads(pickle.dumps(used)) == used


def test_a_store_counts_its_requests_and_bytes(tmp_path) -> None:
    store, before = open_store(str(tmp_path)), storage_use()
    store.write_atomic("x", bytes(100))
    store.read("x")
    store.read_range("x", 10, 30)
    used = storage_use().since(before)
    assert (used.requests, used.bytes_read, used.bytes_written) == (4, 130, 100), "write, its check, two reads"
    assert used.retries == {} and used.backoff_s == 0
    assert used.limits[store.uri] >= 1


def test_what_was_not_delivered_is_not_counted_as_bytes(tmp_path) -> None:
    store, before = open_store(str(tmp_path)), storage_use()
    with pytest.raises(Exception, match="no such file"):
        store.read("x")
    used = storage_use().since(before)
    assert (used.requests, used.bytes_read) == (1, 0)
