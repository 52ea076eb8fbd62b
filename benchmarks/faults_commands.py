"""Commands that are killed on purpose, and what each must have made in the end, undisturbed or not."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from data_build import scannet_like

from verl_vsi.data_adapters.scene_files import write_scenes
from verl_vsi.miniature.demo import base_folder

SCENES, ROOMS, QUESTIONS = 300, 24, 40_000
"""For the build of rows; for rooms, their frames and the evaluation; for the import. Some seconds of work each."""
CLI = str(Path(sys.executable).with_name("verl-vsi"))


@dataclass(frozen=True)
class Case:
    """One command.

    Args:
        name: what the record calls it.
        command: the words, for a folder of its own.
        outputs: glob patterns in that folder whose files must come out the same.
        normal: makes a file's content comparable (without times and the like).
    """

    name: str
    command: Callable[[Path], list[str]]
    outputs: tuple[str, ...]
    normal: Callable[[Path], bytes] = Path.read_bytes

    def digest(self, folder: Path) -> dict[str, str]:
        """File -> checksum of what it says."""
        files = sorted({file for pattern in self.outputs for file in folder.glob(pattern) if file.is_file()})
        return {str(f.relative_to(folder)): hashlib.sha256(self.normal(f)).hexdigest()[:16] for f in files}


def prepare(folder: Path) -> None:
    """Scenes, ready-made questions, rooms with rows."""
    from rich.console import Console

    from verl_vsi.miniature.demo import Demo, data_stages
    from verl_vsi.miniature.pipeline import run_stages

    folder.mkdir(parents=True, exist_ok=True)
    write_scenes(folder / "all.scenes.jsonl", (scannet_like(i) for i in range(SCENES)))
    lines = (
        {
            "question": f"How many chairs ({i})?",
            "answer": "3",
            "scene": f"own{i % 500:04d}",
            "video": f"own{i % 500}.mp4",
            "type": "object_counting",
        }
        for i in range(QUESTIONS)
    )
    (folder / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    demo = Demo(folder / "miniature", train_rooms=ROOMS, heldout_rooms=ROOMS)
    run_stages([phase for phase in data_stages(demo) if phase.name != "frames"], demo.folder, Console(quiet=True))


def cases(shared: Path, endpoint: str) -> list[Case]:
    """All that take seconds.

    Args:
        shared: what `prepare` has filled; only read.
        endpoint: address of `serve_endpoint`.
    """
    rooms = shared / "miniature" / "data"
    rows = str(rooms / "rows" / "heldout.parquet")
    frames = ["--nframes", "4", "--sampler", "linspace", "--min-pixels", "12544", "--max-pixels", "12544"]
    return [
        Case(
            "data build",
            lambda f: [
                CLI,
                "data",
                "build",
                str(f / "rows.parquet"),
                "--scenes",
                str(shared / "all.scenes.jsonl"),
                "--split",
                "train",
                "--workers",
                "2",
            ],
            ("rows*",),
        ),
        Case(
            "data import",
            lambda f: [
                CLI,
                "data",
                "import",
                str(f / "rows.parquet"),
                "--file",
                str(shared / "questions.jsonl"),
                "--split",
                "train",
            ],
            ("rows*",),
        ),
        Case(
            "data rooms",
            lambda f: [CLI, "data", "rooms", str(f), "--split", "train", "--count", str(ROOMS), "--seed", "5"],
            ("rooms/*.jsonl",),
        ),
        Case(
            "frames build",
            lambda f: [
                CLI,
                "frames",
                "build",
                rows,
                "--root",
                str(rooms),
                "--store",
                str(f / "frames"),
                *frames,
                "--workers",
                "2",
            ],
            ("frames/**/*.npy",),
        ),
        Case(
            "evaluation client",
            lambda f: [
                CLI,
                "eval",
                "made-up",
                "--base-url",
                endpoint,
                "--rows",
                rows,
                "--root",
                str(rooms),
                "--out",
                str(f / "eval"),
                "--preset",
                "paper",
                "--prompts",
                "train",
                *frames,
                "--tasks",
                "vsi100k",
                "--concurrency",
                "4",
            ],
            ("eval/*.json",),
            scores_only,
        ),
    ]


def server_case(shared: Path) -> Case:
    """The base on held-out rooms through a vLLM server of its own: a minute each.

    Args:
        shared: what `prepare` has filled.
    """
    rooms = shared / "miniature" / "data"
    words = [
        "--preset",
        "paper",
        "--prompts",
        "train",
        "--nframes",
        "4",
        "--sampler",
        "linspace",
        "--min-pixels",
        "12544",
    ]
    words += ["--max-pixels", "12544", "--tasks", "vsi100k", "--max-model-len", "512", "--root", str(rooms)]
    rows = str(rooms / "rows" / "heldout.parquet")
    return Case(
        "evaluation server",
        lambda f: [CLI, "eval", str(base_folder()), "--rows", rows, "--out", str(f / "eval"), *words],
        ("eval/*.json",),
        scores_only,
    )


def scores_only(file: Path) -> bytes:
    """A result without times, addresses and usage."""
    return json.dumps(json.loads(file.read_text())["scores"], sort_keys=True).encode()


class _Endpoint(BaseHTTPRequestHandler):
    """Stands in for a paid API: answers every question by its length, after a moment."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.05)
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "made-up",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": f"{len(body) % 7 + 1}"},
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        with suppress(ConnectionError):  # the client was killed
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def serve_endpoint() -> Iterator[str]:
    """The address of an endpoint, while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
