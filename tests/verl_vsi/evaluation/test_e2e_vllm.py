"""The miniature through a real vLLM server: killed in the middle and resumed; the pixels are those of training."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="serves a real model")
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

CLI = [sys.executable, "-m", "verl_vsi.cli"]
BASE = Path(str(files("verl_vsi.miniature"))) / "base"
FRAMES = ["--nframes", "4", "--min-pixels", "12544", "--max-pixels", "12544"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered rooms as VSI-Bench ships its own: test.jsonl and rooms/<scene>.mp4, made into rows by `data bench`."""
    from verl_vsi.data_adapters.questions import Quotas, build_questions, rule_set
    from verl_vsi.data_adapters.rooms import render_split

    root = tmp_path_factory.mktemp("bench")
    quotas = Quotas(per_scene=dict.fromkeys(rule_set("vsibench").tasks, 2))
    scenes = render_split(root, "test", 24, seed=99, workers=1, quiet=True)
    lines = [
        {
            "id": i,
            "dataset": "rooms",
            "scene_name": scene.id,
            "question_type": question.task,
            "question": question.text,
            "ground_truth": question.answer,
            "options": list(question.options) or None,
        }
        for i, (question, scene) in enumerate(build_questions(scenes, "vsibench", quotas=quotas))
    ]
    (root / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run("data", "bench", str(root / "rows.parquet"), "--questions", str(root / "test.jsonl"))
    return root


def run(*words: str) -> str:
    done = subprocess.run([*CLI, *words], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def words(bench: Path, out: Path, *more: str) -> list[str]:
    where = ["--rows", str(bench / "rows.parquet"), "--root", str(bench), "--out", str(out), "--tasks", "present"]
    return ["eval", str(BASE), *where, "--preset", "official", *FRAMES, "--max-model-len", "512", *more]


def result(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_a_killed_evaluation_leaves_no_server_and_goes_on_to_the_result_of_an_unbroken_one(
    bench: Path, tmp_path: Path
) -> None:
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    process = subprocess.Popen([*CLI, *words(bench, cut, "--concurrency", "1")], stdout=subprocess.DEVNULL)
    journal = cut / "normal.journal.jsonl"
    wait_for(lambda: journal.exists() and len(journal.read_bytes().splitlines()) > 20, 900)
    server = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert server
    wait_for(lambda: not any(alive(pid) for pid in server), 120)
    assert not (cut / "normal.json").exists()
    before = len(journal.read_bytes().splitlines()) - 1

    run(*words(bench, cut))
    run(*words(bench, whole, "--condition", "normal", "--condition", "shuffled", "--condition", "blind"))
    resumed, unbroken = result(cut / "normal.json"), result(whole / "normal.json")
    assert before < len(unbroken["answers"])
    assert resumed["answers"] == unbroken["answers"]
    assert resumed["scores"] == unbroken["scores"]
    assert resumed["labels"] == unbroken["labels"]
    assert resumed["rates"]["failed"] == 0.0
    assert result(whole / "blind.json")["usage"]["prompt_tokens"] < unbroken["usage"]["prompt_tokens"]
    same_as_transformers(bench, unbroken["answers"][:40])


def same_as_transformers(bench: Path, answers: list[dict[str, Any]]) -> None:
    """What vLLM answered over HTTP is what the model says to the very frames and text of training."""
    from verl_vsi import cpu

    cpu.prepare()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from verl_vsi.data_adapters.frames import FrameStore
    from verl_vsi.evaluation.items import read_set
    from verl_vsi.evaluation.protocol import protocol

    how = protocol("official", frames={"nframes": 4, "min_pixels": 12544, "max_pixels": 12544})
    store = FrameStore(bench / "frames", how.frames, data_root=bench)
    processor: Any = AutoProcessor.from_pretrained(BASE)
    model: Any = AutoModelForImageTextToText.from_pretrained(BASE).float()
    items = {item.index: item for item in read_set(bench / "rows.parquet").items}
    same = []
    for answer in answers:
        item = items[answer["index"]]
        content = [{"type": "video"}, {"type": "text", "text": how.text(item)}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        frames = np.array(store.frames(bench / str(item.video)).array)
        inputs = processor(text=[text], videos=[frames], do_sample_frames=False, return_tensors="pt")
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens=how.max_tokens, do_sample=False)
        said = processor.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        same.append(said == answer["response"])
    assert np.mean(same) >= 0.95, same  # float32 on both sides: a tie may fall either way


def children(pid: int) -> list[int]:
    """All descendants."""
    found = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found + [g for c in found for g in children(c)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
