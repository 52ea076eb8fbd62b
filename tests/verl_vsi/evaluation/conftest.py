from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from verl_vsi.data_adapters.rows import make_row, write_rows
from verl_vsi.data_adapters.schema import TASKS, Kind, Question
from verl_vsi.evaluation.items import Item

NUMBERS = {
    "object_counting": "4",
    "object_abs_distance": "2.5",
    "object_size_estimation": "100",
    "room_size_estimation": "20",
}


def make_item(index: int, task: str, truth: str | None = None, *, options: tuple[str, ...] = (), **other: Any) -> Item:
    kind: Kind = "number" if task in NUMBERS else "choice"
    options = options or (() if kind == "number" else ("A. chair", "B. sofa", "C. table", "D. lamp"))
    scene = f"scene{index % 5}"
    item = Item(
        index=index,
        data_source=f"vsibench/{task}",
        task=task,
        kind=kind,
        scene_id=scene,
        question=f"question {index}?",
        options=options,
        truth=truth if truth is not None else NUMBERS.get(task, "A"),
        video=f"rooms/{scene}",
    )
    return replace(item, **other)


@pytest.fixture(name="make_item")
def make_item_fixture() -> Callable[..., Item]:
    return make_item


@pytest.fixture(name="completion")
def completion_fixture() -> Callable[..., str]:
    return completion


@pytest.fixture
def items() -> list[Item]:
    """Three questions of each of the ten types."""
    return [make_item(i, TASKS[i % 10]) for i in range(30)]


@pytest.fixture
def data_root(tmp_path: Path, items: list[Item]) -> Path:
    """A data root with five videos (folders of images) and rows of `items`."""
    root = tmp_path / "root"
    rng = np.random.default_rng(0)
    for scene in range(5):
        folder = root / "rooms" / f"scene{scene}"
        folder.mkdir(parents=True)
        for frame in range(4):
            Image.fromarray(rng.integers(0, 256, (56, 56, 3), dtype=np.uint8)).save(folder / f"{frame}.png")
    rows = [
        make_row(
            Question(i.task, i.question, i.truth, i.kind, i.scene_id, i.options),
            dataset="rooms",
            video=str(i.video),
            data_source="vsibench",
            split="val",
        )
        for i in items
    ]
    write_rows(root / "rows.parquet", rows, {"builder": "test"})
    return root


Answer = Callable[[dict[str, Any], int], "tuple[int, dict[str, str], str]"]
"""(request, how often this question was asked before) -> (status, headers, body)."""


def completion(text: str | None, *, finish: str = "stop", refusal: str | None = None) -> str:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    usage = {"prompt_tokens": 1000, "completion_tokens": 2, "total_tokens": 1002}
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
    )


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # the default, 5, turns some of 32 connections away


class FakeEndpoint:
    """An OpenAI endpoint that answers as the test says."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[dict[str, Any]] = []
        self.most_at_once = 0
        self._now, self._lock = 0, threading.Lock()
        self._server = Server(("127.0.0.1", 0), self._handler(answer))
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, answer: Answer) -> type[BaseHTTPRequestHandler]:
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with endpoint._lock:
                    before = sum(question_of(body) == question_of(r) for r in endpoint.requests)
                    endpoint.requests.append(body)
                    endpoint._now += 1
                    endpoint.most_at_once = max(endpoint.most_at_once, endpoint._now)
                status, headers, text = answer(body, before)
                with endpoint._lock:
                    endpoint._now -= 1
                if status == 0:  # hang up without a word
                    return
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(BrokenPipeError):  # a client that gave up
                    self.wfile.write(text.encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def question_of(request: dict[str, Any]) -> str:
    """The text part of a request."""
    return request["messages"][0]["content"][-1]["text"]


@pytest.fixture
def start_endpoint() -> Iterator[Callable[[Answer], FakeEndpoint]]:
    endpoints: list[FakeEndpoint] = []

    def start(answer: Answer) -> FakeEndpoint:
        endpoints.append(FakeEndpoint(answer))
        return endpoints[-1]

    yield start
    for endpoint in endpoints:
        endpoint.close()


@pytest.fixture
def make_result() -> Callable[..., Any]:
    """A result of two questions of each type; `answers` by task, right where none are given."""
    from verl_vsi.evaluation.items import Reply
    from verl_vsi.evaluation.labels import Labels
    from verl_vsi.evaluation.protocol import make_protocol
    from verl_vsi.evaluation.score.result import Result, make_result
    from verl_vsi.evaluation.task_columns import TASK_SETS

    def make(
        answers: dict[str, list[str]] | None = None,
        *,
        tasks: str = "vsibench",
        only: list[str] | None = None,
        preset: str = "official",
        **labels: Any,
    ) -> Result:
        items = [make_item(2 * i + j, task) for i, task in enumerate(only or TASKS) for j in range(2)]
        texts = {i.index: i.truth for i in items}
        for task, responses in (answers or {}).items():
            texts |= dict(zip([i.index for i in items if i.task == task], responses, strict=False))
        replies = {index: Reply(index, "ok", text) for index, text in texts.items()}
        values = {"name": "ours", "model": "m", "condition": "normal", "set": "test", "data": {"sha256": "abc"}}
        values |= {"tasks": tasks, "averaging": TASK_SETS[tasks].label} | make_protocol(preset).labels() | labels
        return make_result(items, replies, make_protocol(preset), Labels(**values))

    return make
