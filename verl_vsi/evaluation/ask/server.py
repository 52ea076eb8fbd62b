"""A vLLM OpenAI server for one evaluation: started on a model folder or hub name, and surely stopped.

The server's parent is a `process_guard`, which ends all of its processes and removes what they leave: on a normal end,
an exception, Ctrl-C, and also when this process is killed outright.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from verl_vsi.lifetime import process_guard

NAME = "vsi"
"""The model's name on the server; adapters get names of their own."""
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Of vLLM's ``--max-lora-rank``."""


_SHOWN_ERRORS = 3


class ServerError(RuntimeError):
    """The server did not start, or died; the message holds the first errors of its log."""


@dataclass(frozen=True)
class ServerSettings:
    """How the user wants a local model served.

    Args:
        lora: ``fold`` a checkpoint's adapter into the weights, or ``serve`` it as one.
        max_model_len: tokens of prompt and answer; None: the model's own.
        extra: further words of ``vllm serve``.
    """

    lora: str = "fold"
    max_model_len: int | None = None
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an unknown way with adapters."""
        if self.lora not in ("fold", "serve"):
            raise ValueError(f"--lora '{self.lora}' is unknown; fold or serve")

    def arguments(self) -> list[str]:
        """Words of ``vllm serve`` that may change an answer."""
        return [*cpu_arguments(), *self.extra]


@dataclass(frozen=True)
class ServerSpec:
    """What to serve.

    Args:
        model: folder or hub name.
        max_model_len: tokens of prompt and answer.
        adapters: name -> folder of a LoRA adapter to serve beside the model.
        extra: further arguments of ``vllm serve``.
        start_seconds: patience for loading.
    """

    model: str
    max_model_len: int | None = None
    adapters: Mapping[str, str] = field(default_factory=dict)
    extra: Sequence[str] = ()
    start_seconds: float = 900.0

    def command(self, port: int) -> list[str]:
        """The command line, as one would type it."""
        words = [sys.executable, "-m", "vllm.entrypoints.cli.main", "serve", self.model]
        words += ["--host", "127.0.0.1", "--port", str(port), "--served-model-name", NAME]
        words += ["--limit-mm-per-prompt", '{"video": 1, "image": 0}', "--disable-uvicorn-access-log"]
        if self.max_model_len:
            words += ["--max-model-len", str(self.max_model_len)]
        if self.adapters:
            words += ["--enable-lora", "--max-lora-rank", str(_max_rank(self.adapters.values()))]
            words += ["--lora-modules", *(f"{k}={v}" for k, v in self.adapters.items())]
        return [*words, *_trust_arguments(), *cpu_arguments(), *self.extra]


def _max_rank(adapters: Iterable[str]) -> int:
    """The smallest rank among vLLM's that holds the adapters; its default, 16, is below the recipes' 64.

    Raises:
        ServerError: an adapter is larger than vLLM serves.
    """
    rank = max(int(json.loads((Path(a) / "adapter_config.json").read_text())["r"]) for a in adapters)
    if rank > LORA_RANKS[-1]:
        raise ServerError(f"vLLM serves adapters up to rank {LORA_RANKS[-1]}, this one has {rank}; take --lora fold")
    return next(r for r in LORA_RANKS if r >= rank)


def _trust_arguments() -> list[str]:
    """Newer vLLM (0.31) refuses a request's frames and pixels unless told to take them; older ones lack the word."""
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        return []
    parsers = (Path(spec.origin).parent / "entrypoints").rglob("cli_args.py")
    known = any("trust_request_mm_kwargs" in parser.read_text(encoding="utf-8") for parser in parsers)
    return ["--trust-request-mm-kwargs"] if known else []


@contextmanager
def serve(spec: ServerSpec, log: Path) -> Iterator[str]:
    """The server's base URL, while the block runs.

    Args:
        spec: what to serve.
        log: where its output goes.

    Raises:
        ServerError: it ended or was not ready in time.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    with log.open("wb") as out:
        process = process_guard.guarded(spec.command(port), out, _environment())
    try:
        _wait(process, port, spec, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process_guard.release(process)


def _wait(process: subprocess.Popen[bytes], port: int, spec: ServerSpec, log: Path) -> None:
    end = time.monotonic() + spec.start_seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise ServerError(f"vLLM did not start on '{spec.model}'.\n{_cause(log)}")
        if _healthy(port):
            return
        time.sleep(0.25)
    raise ServerError(f"vLLM was not ready on '{spec.model}' after {spec.start_seconds:g} s.\n{_cause(log)}")


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _cause(log: Path) -> str:
    """The log's first error lines, whose consequences the later ones are, and where to read the rest."""
    lines = log.read_text(errors="replace").splitlines()
    errors = [line for line in lines if re.search(r"\b\w*(Error|Exception)\b: ", line) and " WARNING " not in line]
    return "\n".join([*(errors[:_SHOWN_ERRORS] or lines[-10:]), f"The whole log: {log}"])


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def _on_cpu() -> bool:
    from verl_vsi.cpu.platform_choice import Surroundings, choose

    return choose(Surroundings.here()).cpu


def _environment() -> dict[str, str]:
    """This process's environment, with what a CPU run wants."""
    from verl_vsi.cpu import DEFAULTS

    return (DEFAULTS if _on_cpu() else {}) | os.environ


def cpu_arguments() -> list[str]:
    """On a CPU: full precision as in training there, no compilation, a small cache."""
    if not _on_cpu():
        return []
    return ["--dtype", "float32", "--enforce-eager", "--kv-cache-memory-bytes", str(256 << 20)]
