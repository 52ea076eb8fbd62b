"""What an endpoint may do to an evaluation: `pytest -m "slow or not slow" tests/hostile/test_endpoints.py`.

A third of the questions meets one behaviour; the others are answered. Whatever comes, it ends in a right result, or
in an error that names the cause, in bounded time and memory; the other questions' answers are kept; and once the
endpoint is mended the same command ends as if nothing had been. A small core runs with the quick tests.
"""

from __future__ import annotations

import gzip
import io
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from verl_vsi.data_adapters.rows import make_row, write_rows
from verl_vsi.data_adapters.schema import TASKS, Question
from verl_vsi.evaluation.ask.endpoint import Endpoint, EndpointError
from verl_vsi.evaluation.ask.evaluation import Evaluation, Job
from verl_vsi.evaluation.ask.run import evaluate
from verl_vsi.evaluation.ask.soundness import UnsoundError
from verl_vsi.evaluation.items import read_set
from verl_vsi.evaluation.protocol import make_protocol
from verl_vsi.evaluation.score.result import Result, journal_path, read_result
from verl_vsi.evaluation.task_columns import PRESENT

SECONDS, MEGABYTES = 15.0, 150
"""Bounds of one case; a request may take `TIMEOUT` and is tried twice."""
TIMEOUT = 1.0
QUESTIONS = 12
KEY = "sk-0123456789abcdef0123456789"
QUIET = Console(file=io.StringIO())

Behaviour = Callable[[socket.socket], None]


def reply(content: Any = "4", *, usage: Any = None, finish: Any = "stop", model: Any = "m", **message: Any) -> str:
    """A chat completion's JSON."""
    usage = {"prompt_tokens": 10, "completion_tokens": 2} if usage is None else usage
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return json.dumps({"model": model, "choices": [choice], "usage": usage})


def http(body: str | bytes, status: str = "200 OK", **headers: str) -> Behaviour:
    content = body if isinstance(body, bytes) else body.encode()
    lines = [
        f"{name.replace('_', '-')}: {value}" for name, value in {"Content-Length": str(len(content)), **headers}.items()
    ]
    head = "\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""])
    return lambda connection: connection.sendall(head.encode() + content)


def raw(*parts: bytes, pause: float = 0.0) -> Behaviour:
    def send(connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return send


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GOOD = http(reply())

ANSWERED: dict[str, tuple[Behaviour, str, str]] = {
    "text in parts": (http(reply([{"type": "text", "text": "4"}])), "ok", "4"),
    "text in two parts": (http(reply([{"type": "text", "text": "4"}, {"type": "text", "text": "2"}])), "ok", "42"),
    "a lone surrogate": (http(reply("4 \ud800")), "ok", "4 \ufffd"),
    "a pair of surrogates": (http(reply("4 \ud83d\ude00")), "ok", "4 😀"),
    "terminal escapes": (http(reply("4 \x1b[2J\x1b]0;x\x07")), "ok", "4 \x1b[2J\x1b]0;x\x07"),
    "zero bytes": (http(reply("4\x00\x00")), "ok", "4\x00\x00"),
    "five million letters": (http(reply("4" + " a" * 2_500_000)), "ok", "4" + " a" * 2_500_000),
    "a number of 5,000 digits": (http(reply("4" * 5000)), "ok", "4" * 5000),
    "usage of NaN": (http(reply(usage={"prompt_tokens": float("nan"), "completion_tokens": float("inf")})), "ok", "4"),
    "negative usage": (http(reply(usage={"prompt_tokens": -5, "completion_tokens": -1})), "ok", "4"),
    "usage of text": (http(reply(usage={"prompt_tokens": "ten", "completion_tokens": [1]})), "ok", "4"),
    "no usage": (http(reply(usage=[])), "ok", "4"),
    "another model's name": (http(reply(model="somebody-else")), "ok", "4"),
    "a model's name that is a list": (http(reply(model=["m"])), "ok", "4"),
    "an unknown reason to stop": (http(reply(finish={"why": 1})), "ok", "4"),
    "UTF-16": (http(reply().encode("utf-16")), "ok", "4"),
    "a byte order mark": (http(b"\xef\xbb\xbf" + reply().encode()), "ok", "4"),
    "a chunk a byte": (raw(CHUNKED, *(b"1\r\n%c\r\n" % byte for byte in reply().encode()), b"0\r\n\r\n"), "ok", "4"),
    "no length, then the end": (raw(OK + b"\r\n" + reply().encode()), "ok", "4"),
    "a refusal": (http(reply(None, refusal="I can't")), "refused", ""),
    "a refusal that is a dict": (http(reply(None, refusal={"why": "no"})), "refused", ""),
    "a content filter": (http(reply("4", finish="content_filter")), "refused", ""),
    "a tool call": (http(reply(None, finish="tool_calls", tool_calls=[{"function": {"name": "f"}}])), "empty", ""),
    "reasoning only": (http(reply(None, finish="length", reasoning_content="hm")), "empty", ""),
    "null, with tokens": (http(reply(None)), "empty", ""),
    "blanks, with tokens": (http(reply("  \n")), "empty", "  \n"),
}
"""Name -> what the endpoint does, and how its questions are counted and read; the model's own doing."""

FAILED: dict[str, tuple[Behaviour, str]] = {
    "a dict for text": (http(reply({"text": "4"})), "garbage"),
    "a number for text": (http(reply(4)), "garbage"),
    "a list of numbers for text": (http(reply([4])), "garbage"),
    "an image for text": (http(reply([{"type": "image_url", "image_url": {"url": "x"}}])), "garbage"),
    "nothing, no token": (http(reply("", usage={"prompt_tokens": 10, "completion_tokens": 0}, finish=None)), "empty"),
    "an error in the middle": (http(reply("4", finish="error")), "garbage"),
    "an error of status 200": (http('{"error": {"message": "out of memory"}}'), "out of memory"),
    "no choice": (http('{"choices": []}'), "garbage"),
    "a choice that is null": (http('{"choices": [null]}'), "garbage"),
    "a message that is text": (http('{"choices": [{"message": "4"}]}'), "garbage"),
    "a list": (http("[1, 2]"), "garbage"),
    "null": (http("null"), "garbage"),
    "brackets 100,000 deep": (http("[" * 100_000), "garbage"),
    "a number of a million digits": (http('{"usage": ' + "9" * 1_000_000 + "}"), "garbage"),
    "a page": (http("<html>be right back</html>"), "garbage"),
    "half a JSON": (http(reply()[:40]), "garbage"),
    "events": (http(f"data: {reply()}\n\ndata: [DONE]\n\n", Content_Type="text/event-stream"), "garbage"),
    "nothing at all": (http("", "204 No Content"), "garbage"),
    "a gzip bomb": (http(gzip.compress(bytes(50 << 20)), Content_Encoding="gzip"), "packed"),
    "60 MB": (raw(OK + b"Content-Length: 62914560\r\n\r\n", *[b" " * (1 << 20)] * 60), "too large"),
    "60 MB of chunks": (raw(CHUNKED, *[b"100000\r\n" + b" " * (1 << 20) + b"\r\n"] * 60), "too large"),
    "a byte a second": (raw(OK + b"Content-Length: 400\r\n\r\n", *[b" "] * 400, pause=0.3), "timeout"),
    "headers a byte a second": (raw(*[b"H"] * 40, pause=0.3), "timeout"),
    "silence": (lambda connection: time.sleep(4 * TIMEOUT), "timeout"),
    "hangs up": (lambda connection: None, "connection"),
    "a chunk cut short": (raw(CHUNKED + b"500\r\n" + reply().encode()[:30]), "connection"),
    "a body cut short": (raw(OK + b"Content-Length: 9999\r\n\r\n" + reply().encode()), "connection"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "connection"),
    "a header of a megabyte": (raw(OK + b"X: " + b"a" * (1 << 20) + b"\r\n\r\n"), "connection"),
    "400": (http('{"error": {"message": "prompt too long"}}', "400 Bad Request"), "prompt too long"),
    "400 with escapes": (http("\x1b[31mred", "400 Bad Request"), r"\x1b[31mred"),
    "413": (http("", "413 Too Large"), "413"),
    "418": (http("teapot", "418 Teapot"), "418"),
    "429, later": (http("", "429 Too Many", Retry_After="0"), "429"),
    "429, in NaN seconds": (http("", "429 Too Many", Retry_After="nan"), "429"),
    "429, at a date": (http("", "429 Too Many", Retry_After="Wed, 21 Oct 2065 07:28:00 GMT"), "429"),
    "429, in -5 seconds": (http("", "429 Too Many", Retry_After="-5"), "429"),
    "503": (http("down", "503 Down"), "503"),
    "999": (http("?", "999 What"), "999"),
}
"""Name -> what the endpoint does, and a word of the error: not the model's doing, so there is no result."""

STOPS: dict[str, tuple[Behaviour, str]] = {
    "302": (http("", "302 Found", Location="http://127.0.0.1:9/elsewhere"), "elsewhere"),
    "307": (http("", "307 Temporary", Location="http://127.0.0.1:9/elsewhere"), "--base-url"),
    "308 without a place": (http("", "308 Permanent"), "elsewhere"),
    "401 that echoes the key": (http(f"Bearer {KEY} is wrong", "401 No"), "--key-env"),
    "403": (http("", "403 No"), "denied"),
    "404": (http("", "404 No"), "--model"),
}
"""Name -> what the endpoint does, and a word of the error that stops everything at once."""

CORE = {
    *("text in parts", "a lone surrogate", "usage of NaN", "a tool call", "a refusal"),
    *("a dict for text", "nothing, no token", "a byte a second", "a gzip bomb", "60 MB", "a chunk cut short"),
    *("brackets 100,000 deep", "400 with escapes", "307", "401 that echoes the key"),
}


def cases(table: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), id=name, marks=[] if name in CORE else pytest.mark.slow
        )
        for name, value in table.items()
    ]


class RawServer:
    """Speaks bytes: for each connection, a request is read and the behaviour of its question is shown."""

    def __init__(self, behaviour: Behaviour, concerns: Callable[[int], bool]) -> None:
        self._behaviour, self._concerns, self.asked = behaviour, concerns, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._answer, args=(self._listening.accept()[0],), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            head, _, body = _until(connection, b"\r\n\r\n").partition(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length")
            )
            while len(body) < length:
                body += connection.recv(1 << 16)
            number = int(
                json.loads(body)["messages"][0]["content"][-1]["text"].partition("question ")[2].partition("?")[0]
            )
            self.asked.append(number)
            (self._behaviour if self._concerns(number) else GOOD)(connection)


def _until(connection: socket.socket, end: bytes) -> bytes:
    received = b""
    while end not in received and (part := connection.recv(1 << 16)):
        received += part
    return received


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(behaviour: Behaviour, concerns: Callable[[int], bool] = lambda number: number % 3 == 0) -> RawServer:
        servers.append(RawServer(behaviour, concerns))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def evaluation(tmp_path: Path) -> Evaluation:
    """Questions of all types, every number's truth 4 and every letter's A, asked without a video."""
    numeric = [
        task for task in TASKS if "object_rel" not in task and task not in ("route_planning", "obj_appearance_order")
    ]
    rows = [
        make_row(
            Question(numeric[i % len(numeric)], f"question {i}?", "4", "number", f"scene{i}"),
            dataset="rooms",
            video=f"rooms/scene{i}.mp4",
            data_source="vsibench",
            split="test",
        )
        for i in range(QUESTIONS)
    ]
    write_rows(tmp_path / "rows.parquet", rows, {"builder": "test"})
    protocol = make_protocol("harness")
    return Evaluation(read_set(tmp_path / "rows.parquet"), protocol, PRESENT, tmp_path, tmp_path / "frames", "m")


@pytest.fixture(autouse=True)
def _bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.monotonic() - began < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES << 10


def ask(evaluation: Evaluation, base_url: str, out: Path, **settings: Any) -> Result:
    endpoint = Endpoint(
        base_url, "m", **({"retries": 1, "first_wait": 0.01, "timeout": TIMEOUT, "concurrency": 4} | settings)
    )
    return evaluate(Job(evaluation, "blind", out), endpoint, QUIET)


def is_mended(evaluation: Evaluation, serve: Callable[..., RawServer], out: Path) -> Result:
    """The same evaluation ends, at an endpoint that works, as if nothing had been; only what failed is asked again."""
    kept = len(_answered(out))
    good = serve(GOOD)
    result = ask(evaluation, good.base_url, out)
    assert len(good.asked) == QUESTIONS - kept
    assert {answer.score for answer in result.answers} == {1.0}
    assert read_result(out).scores == result.scores
    return result


def _answered(out: Path) -> list[dict[str, Any]]:
    lines = journal_path(out).read_text(encoding="utf-8", errors="surrogatepass").split("\n")[1:-1]
    return [line for line in map(json.loads, lines) if line["status"] != "failed"]


@pytest.mark.parametrize(("behaviour", "status", "text"), cases(ANSWERED))
def test_what_the_model_did_is_counted_and_nothing_is_asked_again(
    evaluation: Evaluation,
    serve: Callable[..., RawServer],
    tmp_path: Path,
    behaviour: Behaviour,
    status: str,
    text: str,
) -> None:
    server, out = serve(behaviour), tmp_path / "blind.json"
    result = ask(evaluation, server.base_url, out)
    touched = [answer for answer in result.answers if answer.index % 3 == 0]
    assert {(answer.status, answer.response) for answer in touched} == {(status, text)}
    assert {answer.score for answer in result.answers if answer.index % 3} == {1.0}
    assert sorted(server.asked) == list(range(QUESTIONS))
    assert read_result(out).answers == result.answers
    again = ask(evaluation, "http://127.0.0.1:9/v1", out)
    assert (again.answers, again.scores) == (result.answers, result.scores)


@pytest.mark.parametrize(("behaviour", "cause"), cases(FAILED))
def test_what_is_not_the_models_doing_gives_no_result_and_is_named_and_mended(
    evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path, behaviour: Behaviour, cause: str
) -> None:
    out = tmp_path / "blind.json"
    with pytest.raises(UnsoundError, match="4 of 12 questions got no answer") as raised:
        ask(evaluation, serve(behaviour).base_url, out)
    assert cause in str(raised.value)
    assert str(raised.value).isprintable()
    assert not out.exists()
    assert len(_answered(out)) == 8
    is_mended(evaluation, serve, out)


@pytest.mark.parametrize(("behaviour", "cause"), cases(STOPS))
def test_what_no_try_can_mend_stops_at_once(
    evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path, behaviour: Behaviour, cause: str
) -> None:
    out, server = tmp_path / "blind.json", serve(behaviour)
    with pytest.raises(EndpointError, match=cause) as raised:
        ask(evaluation, server.base_url, out)
    assert KEY not in str(raised.value)
    assert KEY not in journal_path(out).read_text()
    assert len(server.asked) < QUESTIONS
    is_mended(evaluation, serve, out)


@pytest.mark.parametrize(
    ("content", "cause"),
    [("!!!!!!!!", "NaN"), ("the room", "same text"), (None, "writes nothing")],
    ids=["NaN weights", "one sentence", "nothing"],
)
def test_output_that_nothing_can_be_read_from_stops_with_the_cause(
    evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path, content: str | None, cause: str
) -> None:
    server, out = serve(http(reply(content)), lambda number: True), tmp_path / "blind.json"
    with pytest.raises(UnsoundError, match=cause):
        ask(evaluation, server.base_url, out)
    assert not out.exists()
    written = ask(replace(evaluation, incomplete=True), server.base_url, out)
    assert written.rates["unparsed"] == 1.0


def test_a_question_that_always_fails_does_not_hold_the_others_up_and_can_be_written_off(
    evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path
) -> None:
    server, out = serve(FAILED["400"][0]), tmp_path / "blind.json"
    for _ in range(2):
        with pytest.raises(UnsoundError, match="--incomplete"):
            ask(evaluation, server.base_url, out)
    result = ask(replace(evaluation, incomplete=True), server.base_url, out)
    assert result.rates["failed"] == pytest.approx(1 / 3)
    assert len(result.answers) == QUESTIONS


def test_nobody_listens(evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path) -> None:
    with pytest.raises(UnsoundError, match=r"12 of 12 .*\(connection 12 times\)"):
        ask(evaluation, "http://127.0.0.1:9/v1", tmp_path / "blind.json")
    is_mended(evaluation, serve, tmp_path / "blind.json")


def test_who_answered_is_in_the_result(evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path) -> None:
    server = serve(http(reply(model="somebody-else")))
    ask(evaluation, server.base_url, tmp_path / "blind.json")
    served = read_result(tmp_path / "blind.json").labels.served
    assert served == {"endpoint": server.base_url, "answered_by": "m, somebody-else"}


def test_a_cap_is_not_held_by_what_an_endpoint_says_of_nothing(
    evaluation: Evaluation, serve: Callable[..., RawServer], tmp_path: Path
) -> None:
    for usage in ({"prompt_tokens": float("nan")}, {"prompt_tokens": -1}, {"prompt_tokens": "ten"}, []):
        server = serve(http(reply(usage=usage)), lambda number: True)
        with pytest.raises(EndpointError, match="cost cap can't be held"):
            ask(evaluation, server.base_url, tmp_path / "blind.json", price_in=1.0, max_cost=1.0)
