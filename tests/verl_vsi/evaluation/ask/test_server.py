from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from verl_vsi.evaluation.ask.server import ServerError, ServerSpec, serve
from verl_vsi.lifetime.leftovers import is_alive

GUARD = "verl_vsi.lifetime.process_guard"

FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def wait_for_the_end(pid: int) -> bool:
    end = time.monotonic() + 15
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not is_alive(pid)


@pytest.mark.skipif(not Path("/proc").exists(), reason="reads /proc")
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_a_server_and_its_children_end_with_whoever_started_it(tmp_path: Path, how: str) -> None:
    """Its input is closed, or the process that started it is killed outright."""
    log = tmp_path / "log"
    starter = (
        "import subprocess, sys, time; out = open(sys.argv[1], 'wb');"
        f"subprocess.Popen([sys.executable, '-m', {GUARD!r}, sys.executable, '-c', {FAMILY!r}],"
        "stdin=subprocess.PIPE, stdout=out, start_new_session=True); time.sleep(600)"
    )
    if how == "killed":
        process = subprocess.Popen([sys.executable, "-c", starter, str(log)])
    else:
        command = [sys.executable, "-m", GUARD, sys.executable, "-c", FAMILY]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log.open("wb"), start_new_session=True)
    end = time.monotonic() + 20
    while not (log.exists() and log.read_text().endswith("\n")) and time.monotonic() < end:
        time.sleep(0.05)
    grandchild = int(log.read_text())
    assert is_alive(grandchild)
    if how == "killed":
        os.kill(process.pid, signal.SIGKILL)
    else:
        assert process.stdin is not None
        process.stdin.close()
    assert wait_for_the_end(grandchild)
    process.wait(15)


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_a_command_ends_with_a_guard_that_is_killed_outright(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with log.open("wb") as out:
        guard = subprocess.Popen(
            [sys.executable, "-m", GUARD, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=out
        )
    end = time.monotonic() + 20
    while not log.read_text().endswith("\n") and time.monotonic() < end:
        time.sleep(0.05)
    guard.kill()
    guard.wait()
    assert wait_for_the_end(int(log.read_text()))


def test_a_model_that_is_not_there_says_so_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "print('ValueError: no such model: ' + sys.argv[1]); sys.exit(1)"
    monkeypatch.setattr(
        ServerSpec, "command", lambda self, port: [sys.executable, "-c", f"import sys; {lines}", self.model]
    )
    message = r"did not start on 'nowhere'.*\n.*no such model: nowhere(.|\n)*server\.log"
    with pytest.raises(ServerError, match=message), serve(ServerSpec("nowhere"), tmp_path / "server.log"):
        pass


@pytest.mark.parametrize(
    ("parser", "trusted"),
    [
        ("    trust_request_mm_kwargs: bool = False\n", True),  # vLLM 0.31, entrypoints/launchers/cli_args.py
        ("    chat_template: str | None = None\n", False),  # 0.28, which refuses words that it doesn't know
    ],
)
def test_vllm_is_told_to_take_frames_and_pixels_from_requests_where_it_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parser: str, trusted: bool
) -> None:
    folder = tmp_path / "vllm" / "entrypoints" / "launchers"
    folder.mkdir(parents=True)
    (tmp_path / "vllm" / "__init__.py").touch()
    (folder / "cli_args.py").write_text(parser)
    monkeypatch.delitem(sys.modules, "vllm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert ("--trust-request-mm-kwargs" in ServerSpec("m").command(1)) is trusted
