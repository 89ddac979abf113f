"""A model behind HTTP: what is sent, what is read, and what happens when the server is busy or refuses."""

import base64
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest

from vlm3.asking.text_model import Ending, Reply, TextRequest
from vlm3.errors import ConfigError, DataError
from vlm3.infer import endpoint
from vlm3.infer.endpoint import Endpoint, EndpointModel

IMAGES = tuple(np.random.default_rng(n).integers(0, 256, (32, 64, 3), dtype=np.uint8) for n in range(2))


@dataclass
class Server:
    """An OpenAI-compatible server that answers with the question, upper case."""

    url: str = ""
    faults: list[tuple[int, str]] = field(default_factory=list)
    """Status and body of the next replies."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found.bodies.append(body)
            found.keys.append(self.headers.get("authorization"))
            said = body["messages"][-1]["content"][-1]["text"].upper()
            status, text = found.faults.pop(0) if found.faults else (
                200, json.dumps({"choices": [{"message": {"content": said}}]}),
            )  # fmt: skip
            self.send_response(status)
            self.send_header("content-length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    found.url = f"http://127.0.0.1:{http.server_address[1]}/v1"
    monkeypatch.setattr(endpoint, "FIRST_PAUSE_S", 0.001)
    yield found
    http.shutdown()
    thread.join()
    http.server_close()


def request(*questions: str, system: str | None = None) -> TextRequest:
    return TextRequest("set/scene/frame", IMAGES, questions, system, 16)


def said(content: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}, **more}]}


def test_every_question_is_asked_on_its_own_about_the_very_pixels(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(endpoint.KEY_VARIABLE, "secret")
    model = EndpointModel(Endpoint(server.url, "some-vlm"))
    questions = [f"how far is {n}?" for n in range(20)]
    replies = model.answer(request(*questions, system="be brief"))
    assert replies == [Reply(question.upper()) for question in questions]
    assert len(server.bodies) == 20 and set(server.keys) == {"Bearer secret"}
    for body in server.bodies:
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("some-vlm", 0, 16)
        assert body["messages"][0] == {"role": "system", "content": "be brief"}
        parts = body["messages"][1]["content"]
        for part, image in zip(parts[:2], IMAGES, strict=True):
            encoded = base64.b64decode(part["image_url"]["url"].removeprefix("data:image/png;base64,"))
            decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
            assert (decoded == image).all()


def test_a_busy_server_is_asked_again(server: Server) -> None:
    server.faults = [(429, "slow down"), (503, "starting"), (500, "oops")]
    assert EndpointModel(Endpoint(server.url, "m")).answer(request("a")) == [Reply("A")]
    assert len(server.bodies) == 4 and server.keys[0] is None


def test_a_server_that_stays_busy_is_given_up(server: Server) -> None:
    server.faults = [(503, "full")] * endpoint.ATTEMPTS
    with pytest.raises(DataError, match=r"no answer about set/scene/frame after 6 attempts: status 503: full"):
        EndpointModel(Endpoint(server.url, "m")).answer(request("a"))


def test_nobody_there_is_said_within_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "FIRST_PAUSE_S", 0.001)
    with pytest.raises(DataError, match="ConnectError"):
        EndpointModel(Endpoint("http://127.0.0.1:9/v1", "m")).answer(request("a"))


@pytest.mark.parametrize(
    ("status", "text", "error", "message"),
    [
        (401, "who are you", ConfigError, "VLM3_ENDPOINT_KEY"),
        (404, "no model m", ConfigError, "refuses a question about set/scene/frame: status 404: no model m"),
        (200, "{}", DataError, r"expected choices\[0\].message.content"),
        (200, '{"choices": [{"message": {"content": 3}}]}', DataError, "expected a text"),
        (200, "x" * (endpoint.MAX_REPLY_BYTES + 1), DataError, "a reply of more than 1048576 bytes"),
    ],
)
def test_what_cannot_help_is_said_at_once(
    server: Server, status: int, text: str, error: type[Exception], message: str
) -> None:
    server.faults = [(status, text)]
    with pytest.raises(error, match=message):
        EndpointModel(Endpoint(server.url, "m")).answer(request("a"))
    assert len(server.bodies) == 1


def test_an_answer_that_was_cut_off_is_an_unreadable_one(server: Server) -> None:
    server.faults = [
        (200, '{"choices": [{"message": {"content": null}, "finish_reason": "length"}]}'),
        (200, '{"choices": [{"message": {"content": "2.4 \\ud83d"}}]}'),
    ]
    model = EndpointModel(Endpoint(server.url, "m"))
    assert model.answer(request("a")) == [Reply("", Ending.CUT)]
    assert model.answer(request("a")) == [Reply("2.4 ?")]


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (said("2.4", finish_reason="stop"), Reply("2.4")),
        (said("2.4", finish_reason="end_turn"), Reply("2.4")),
        (said("2222", finish_reason="length"), Reply("2222", Ending.CUT)),
        (said("2222", finish_reason="MAX_TOKENS"), Reply("2222", Ending.CUT)),
        (said("2222") | {"usage": {"completion_tokens": 16}}, Reply("2222", Ending.CUT)),
        (said("2.4") | {"usage": {"completion_tokens": 4}}, Reply("2.4")),
        (said([{"type": "text", "text": "2."}, {"type": "text", "text": "4"}]), Reply("2.4")),
        (said([{"type": "thinking", "thinking": []}, {"type": "text", "text": "2.4"}]), Reply("2.4")),
        (said([]), Reply("")),
        (said(None, finish_reason="stop"), Reply("")),
        (said("The", finish_reason="content_filter"), Reply("", Ending.REFUSED)),
        ({"choices": [{"finish_reason": "content_filter"}]}, Reply("", Ending.REFUSED)),
        ({"choices": [{"message": {"content": None, "refusal": "I cannot."}}]}, Reply("", Ending.REFUSED)),
    ],
)
def test_an_answer_comes_in_many_forms(server: Server, body: dict[str, Any], reply: Reply) -> None:
    server.faults = [(200, json.dumps(body))]
    assert EndpointModel(Endpoint(server.url, "m")).answer(request("a")) == [reply]


def fault(message: str, param: str | None = None, code: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}})


NO_MAX = fault("this model takes 'max_completion_tokens', not 'max_tokens'", "max_tokens")
NO_TEMPERATURE = fault("Unsupported value: 'temperature' does not support 0 with this model.")


@pytest.mark.parametrize(
    ("faults", "kept"),
    [
        ([(400, NO_MAX)], {"max_completion_tokens": 16, "temperature": 0}),
        ([(400, NO_TEMPERATURE)], {"max_tokens": 16}),
        ([(422, NO_TEMPERATURE), (400, NO_MAX)], {"max_completion_tokens": 16}),
    ],
)
def test_what_a_server_does_not_take_is_left_out_from_then_on(
    server: Server, faults: list[tuple[int, str]], kept: dict[str, int]
) -> None:
    server.faults = list(faults)
    model = EndpointModel(Endpoint(server.url, "m"))
    assert model.answer(request("a")) == [Reply("A")]
    assert model.answer(request("b", "c")) == [Reply("B"), Reply("C")]
    sent = [{key: value for key, value in body.items() if key not in ("model", "messages")} for body in server.bodies]
    assert sent[0] == {"max_tokens": 16, "temperature": 0} and sent[len(faults) :] == [kept] * 3


@pytest.mark.parametrize("status", [400, 403, 413, 422])
def test_a_question_that_is_refused_for_good_ends_nothing(server: Server, status: int) -> None:
    refusal = (status, fault("the prompt was filtered: temperature of the debate", "prompt", "content_filter"))
    model = EndpointModel(Endpoint(server.url, "m"))
    server.faults = [refusal]
    assert model.answer(request("a")) == [Reply("", Ending.REFUSED)], "nothing was answered yet: a trial is made"
    assert len(server.bodies) == 2 and "grey" in server.bodies[1]["messages"][-1]["content"][-1]["text"]
    server.faults = [refusal]
    assert model.answer(request("a")) == [Reply("", Ending.REFUSED)]
    assert len(server.bodies) == (4 if status == 403 else 3), "it answers; but forbidden may be the key"
    assert model.answer(request("b")) == [Reply("B")]


@pytest.mark.parametrize("status", [400, 403])
def test_a_server_that_refuses_everything_from_some_time_on_is_given_up(server: Server, status: int) -> None:
    model = EndpointModel(Endpoint(server.url, "m"))
    assert model.answer(request("a")) == [Reply("A")]
    server.faults = [(status, fault("your budget is spent"))] * 100
    with pytest.raises(ConfigError, match=r"and any other: .*your budget is spent"):
        model.answer(request("b", "c"))


@pytest.mark.parametrize(
    ("status", "text"), [(400, fault("no model m")), (403, "forbidden"), (422, "no images"), (400, NO_TEMPERATURE)]
)
def test_a_server_that_refuses_everything_is_given_up_at_once(server: Server, status: int, text: str) -> None:
    server.faults = [(status, text)] * 100
    with pytest.raises(ConfigError, match=rf"refuses a question about set/scene/frame, and any other: status {status}"):
        EndpointModel(Endpoint(server.url, "m")).answer(request(*"abcdefghijklmnopqrstuvwxyz"))
    assert len(server.bodies) < 26, "it is not asked everything first"


@pytest.mark.parametrize("key", ["sk-SECRET\r\nx", "sk-SECRÉT", "sk-SECRET\x00"])
def test_a_broken_key_is_refused_and_not_repeated(server: Server, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setattr(endpoint.os, "environ", {endpoint.KEY_VARIABLE: key})
    with pytest.raises(ConfigError, match="VLM3_ENDPOINT_KEY holds characters") as caught:
        EndpointModel(Endpoint(server.url, "m"))
    assert "SECR" not in str(caught.value)


def test_line_ends_around_a_key_are_taken_away(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(endpoint.KEY_VARIABLE, "secret\r\n")
    EndpointModel(Endpoint(server.url, "m")).answer(request("a"))
    assert server.keys == ["Bearer secret"]


@pytest.mark.parametrize("url", ["host/v1", "ftp://host/v1", "http://", "http://me:secret@host/v1"])
def test_other_urls_are_refused_without_repeating_a_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Endpoint(url, "m")
    assert "secret" not in str(caught.value)
