"""The same behaviour on a folder and on two real S3 servers, and errors that name the place and the remedy."""

import itertools
import os
import pickle
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage_fixtures import S3Server, make_bucket
from vlm3.errors import DataError
from vlm3.storage import retrying
from vlm3.storage.failures import StorageError
from vlm3.storage.store import Store, open_store

UseS3 = Callable[[S3Server], None]


def test_reads_back_what_was_written(store: Store) -> None:
    data = os.urandom(300_000)
    store.write_atomic("a/b.bin", data)
    assert store.read("a/b.bin") == data
    assert store.size("a/b.bin") == len(data)
    assert store.read_range("a/b.bin", 1000, 17) == data[1000:1017]
    assert store.read_range("a/b.bin", 5, 0) == b""


def test_a_second_write_replaces_the_first_at_once(store: Store) -> None:
    store.write_atomic("x", b"one")
    assert store.read("x") == b"one"
    store.write_atomic("x", b"three")
    assert store.read("x") == b"three"
    assert store.size("x") == 5
    assert store.list() == ("x",)


def test_lists_below_the_root_without_stale_entries(store: Store) -> None:
    assert store.list() == ()
    store.write_atomic("train-1", b"1")
    assert store.list() == ("train-1",)
    store.write_atomic("deep/er/x", b"2")
    store.write_atomic("eval-1", b"3")
    assert store.list() == ("deep/er/x", "eval-1", "train-1")
    assert store.list("train-") == ("train-1",)
    store.delete("train-1")
    store.delete("train-1")
    assert store.list() == ("deep/er/x", "eval-1")
    assert not store.exists("train-1")


def test_another_process_sees_the_same_store(store: Store) -> None:
    store.write_atomic("x", b"1")
    assert pickle.loads(pickle.dumps(store)).read("x") == b"1"


def test_a_missing_file_is_named(store: Store) -> None:
    store.write_atomic("there", b"1")
    with pytest.raises(DataError, match=r"not-there: no such (file|object)"):
        store.read("not-there")
    with pytest.raises(DataError, match="not-there: no such"):
        store.read_range("not-there", 0, 4)
    assert store.size("not-there") is None


def test_a_range_past_the_end_is_an_error_not_short_data(store: Store) -> None:
    store.write_atomic("x", b"0123456789")
    with pytest.raises(DataError, match="truncated"):
        store.read_range("x", 5, 10)


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", ".", "a\\..\\b", "a\0b"])
def test_paths_stay_below_the_root(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="not a path below"):
        open_store(str(tmp_path)).read(path)


@given(st.lists(st.sampled_from(["a", "b c", "ü", "..", ".", "", "x.parquet"]), min_size=1, max_size=5))
def test_a_path_is_refused_or_inside(parts: list[str]) -> None:
    root = Path("/nowhere/root")
    try:
        full = open_store(str(root))._full("/".join(parts))
    except DataError:
        return
    assert Path(os.path.normpath(full)).is_relative_to(root)


@pytest.mark.parametrize("uri", ["", "gs://bucket/x", "s3://", "s3://bucket/../other"])
def test_a_uri_that_is_none_is_refused(uri: str) -> None:
    with pytest.raises(DataError, match=r"expected|unknown kind"):
        open_store(uri)


def test_uris_are_brought_to_one_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_store("s3://bucket//a/b/") == open_store("s3://bucket/a/b")
    assert open_store("x") == open_store(f"file://{tmp_path}/x") == open_store(str(tmp_path / "x"))


def test_a_local_write_leaves_no_temporary_file_behind(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="folder"):
        store.write_atomic("folder", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_readers_never_see_half_a_local_file(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    contents = [bytes([i]) * 2_000_000 for i in range(2)]
    store.write_atomic("x", contents[0])
    seen: list[bytes] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(store.read("x"))

    reader = threading.Thread(target=read)
    reader.start()
    for i in range(20):
        store.write_atomic("x", contents[i % 2])
    stop.set()
    reader.join()
    assert seen
    assert all(data in contents for data in seen)


@pytest.mark.parametrize("kind", ["rclone", "moto"])
def test_a_missing_bucket_is_named(kind: str, request: pytest.FixtureRequest, use_s3: UseS3) -> None:
    server = request.getfixturevalue(f"{kind}_server")
    use_s3(server)
    store = open_store("s3://no-such-bucket/x")
    for operation in (store.check, lambda: store.read("y"), lambda: store.write_atomic("y", b"1")):
        with pytest.raises(DataError, match=r"no bucket 'no-such-bucket' at http://127\.0\.0\.1:\d+; create it"):
            operation()


def test_missing_credentials_say_which_variables_to_set(
    rclone_server: S3Server, use_s3: UseS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_s3(rclone_server)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        open_store("s3://bucket").check()


def test_wrong_credentials_are_refused_with_advice(
    rclone_server: S3Server, use_s3: UseS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(rclone_server)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(StorageError, match=r"refuses access .*check AWS_ACCESS_KEY_ID"):
        open_store("s3://bucket").read("x")


def test_an_endpoint_that_is_down_is_retried_then_named(
    use_s3: UseS3, rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_s3(rclone_server)
    monkeypatch.setattr(retrying, "FIRST_PAUSE_S", 0.02)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
        with pytest.raises(StorageError, match=f"no answer from {endpoint}.*AWS_ENDPOINT_URL"):
            open_store("s3://bucket").read("x")
    assert caplog.text.count("trying again") == retrying.ATTEMPTS - 1


def test_a_server_that_comes_back_is_not_an_error(
    use_s3: UseS3, rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy refuses the first two connections, then passes bytes on."""
    use_s3(rclone_server)
    make_bucket(rclone_server, "comes-back")
    open_store("s3://comes-back").write_atomic("x", b"data")
    with _flaky_proxy(int(rclone_server.endpoint.rsplit(":", 1)[1]), refuse=2) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        assert open_store("s3://comes-back").read_range("x", 0, 4) == b"data"


@contextmanager
def _flaky_proxy(target_port: int, refuse: int) -> Iterator[int]:
    """A port that hangs up on the first `refuse` connections and passes the later ones on to `target_port`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            if next(connections) < refuse:
                return
            with socket.create_connection(("127.0.0.1", target_port)) as target:
                pipe = threading.Thread(target=_pump, args=(target, self.request), daemon=True)
                pipe.start()
                _pump(self.request, target)

    connections = itertools.count()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
