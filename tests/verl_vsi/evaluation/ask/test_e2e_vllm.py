"""Base, SFT and vsGRPO of the miniature through real vLLM servers, on rooms in the form of VSI-Bench's own files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from verl_vsi.config.model_shape import shape_of
from verl_vsi.evaluation.ask.checkpoints import as_served
from verl_vsi.lifetime.leftovers import is_alive

pytest.importorskip("vllm", reason="serves a real model")
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]  # with the demonstration that it may have to run first

CLI = [sys.executable, "-m", "verl_vsi.cli"]
BASE = Path(str(files("verl_vsi.miniature"))) / "base"
FRAMES = ["--nframes", "4", "--min-pixels", "12544", "--max-pixels", "12544"]
ROWS = ("2B_base_vanilla", "2B_SFT_vanilla", "2B_vsGRPO-V_vanilla")
WIDE = {"COLUMNS": "200"}


DATASETS = ("scannet", "scannetpp", "arkitscenes")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rendered rooms as VSI-Bench ships its own, test.jsonl and a zip a dataset, brought in by `data bench`."""
    from verl_vsi.data_adapters.questions import Quotas, build_questions, rule_set
    from verl_vsi.data_adapters.synthetic_rooms import render_split

    files, root = tmp_path_factory.mktemp("download"), tmp_path_factory.mktemp("bench")
    quotas = Quotas(per_scene=dict.fromkeys(rule_set("vsibench").tasks, 2))
    scenes = render_split(files, "test", 24, seed=99, workers=1, quiet=True)
    dataset = {scene.id: DATASETS[i % 3] for i, scene in enumerate(scenes)}
    lines = [
        {
            "id": i,
            "dataset": dataset[scene.id],
            "scene_name": scene.id,
            "question_type": question.task,
            "question": question.text,
            "ground_truth": question.answer,
            "options": list(question.options) or None,
        }
        for i, (question, scene) in enumerate(build_questions(scenes, "vsibench", quotas=quotas))
    ]
    (files / "test.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name in DATASETS:
        with zipfile.ZipFile(files / f"{name}.zip", "w") as archive:
            for scene in (s for s, where in dataset.items() if where == name):
                archive.write(files / "rooms" / f"{scene}.mp4", f"{name}/{scene}.mp4")
    zips = [word for name in DATASETS for word in ("--zip", str(files / f"{name}.zip"))]
    run(
        "data",
        "bench",
        str(root / "rows.parquet"),
        "--questions",
        str(files / "test.jsonl"),
        "--root",
        str(root),
        *zips,
    )
    return root


def run(*words: str) -> str:
    process = subprocess.run([*CLI, *words], capture_output=True, text=True, timeout=900, env=os.environ | WIDE)
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process.stdout


def words(bench: Path, out: Path, *more: str) -> list[str]:
    where = ["--rows", str(bench / "rows.parquet"), "--root", str(bench), "--out", str(out), "--tasks", "present"]
    return ["eval", *more, *where, *FRAMES, "--max-model-len", "512", "--per-task", "10"]


def table(bench: Path, out: Path, models: Mapping[str, Path], *more: str) -> list[str]:
    models_words = [word for name, path in models.items() for word in ("--given", f"{name}={path}")]
    return words(bench, out, "--table", "2", *models_words, *more)


def result(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def test_tables_killed_in_the_middle_leave_no_server_and_go_on_to_the_result_of_an_unbroken_run(
    bench: Path, demo_folder: Path, tmp_path: Path
) -> None:
    """One command evaluates base, SFT and vsGRPO; it is killed while it asks the second."""
    models = {"base": BASE, "sft": demo_folder / "sft", "vsgrpo-v": demo_folder / "vsgrpo"}
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    process = subprocess.Popen([*CLI, *table(bench, cut, models, "--concurrency", "1")], stdout=subprocess.DEVNULL)
    journal = cut / "2B_SFT_vanilla" / "normal.journal.jsonl"
    wait_for(lambda: process.poll() is not None or (journal.exists() and lines(journal) > 20), 900)
    assert process.poll() is None
    server = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert server
    wait_for(lambda: not any(is_alive(pid) for pid in server), 120)
    before, base_result = lines(journal), cut / "2B_base_vanilla" / "normal.json"
    assert base_result.exists()
    assert not journal.with_name("normal.json").exists()
    base_started = (cut / "server_0.log").stat().st_mtime_ns

    output = run(*table(bench, cut, models))
    assert (cut / "server_0.log").stat().st_mtime_ns == base_started, "the base's row was to be reused"
    assert "row 2B DPO vanilla is missing: no model is given for it (--given dpo=...)" in output
    assert "row 2B vsGRPO-T think is missing" in output
    run(*table(bench, whole, models))
    assert before < lines(journal)
    for row, model in zip(ROWS, models.values(), strict=True):
        resumed, unbroken = (result(out / row / "normal.json") for out in (cut, whole))
        for part in ("answers", "scores", "labels", "rates"):
            assert resumed[part] == unbroken[part], (row, part)
        assert resumed["rates"]["failed"] == 0.0
        served = as_served(str(model), lora="fold", console=Console()).model
        same_as_transformers(bench, served, unbroken["answers"][:20])
    responses = [[a["response"] for a in result(whole / row / "normal.json")["answers"]] for row in ROWS]
    assert responses[0] != responses[1]  # trained weights were served


def test_the_official_protocol_runs_with_and_without_video(bench: Path, tmp_path: Path) -> None:
    run(*words(bench, tmp_path, str(BASE), "--preset", "official", "--condition", "normal", "--condition", "blind"))
    seen, blind = result(tmp_path / "normal.json"), result(tmp_path / "blind.json")
    assert seen["labels"]["decoding"] == "greedy, at most 16 new tokens"
    assert blind["usage"]["prompt_tokens"] < seen["usage"]["prompt_tokens"]
    assert seen["rates"]["failed"] == blind["rates"]["failed"] == 0.0
    held = re.search(r"KV cache size: ([\d,]+) tokens", (tmp_path / "server.log").read_text())
    assert held is not None
    # 256 MiB of float32, as `recipes estimate` counts keys and values
    assert int(held[1].replace(",", "")) == (256 << 20) // (shape_of(str(BASE)).kv_numbers * 4)


def same_as_transformers(bench: Path, folder: str, answers: list[dict[str, Any]]) -> None:
    """What vLLM answered over HTTP is what the model says to the very frames and text of training."""
    from verl_vsi import cpu

    cpu.prepare()
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    from verl_vsi.data_adapters.frames import FrameStore
    from verl_vsi.evaluation.items import read_set
    from verl_vsi.evaluation.protocol import make_protocol

    protocol = make_protocol("paper", frames={"nframes": 4, "min_pixels": 12544, "max_pixels": 12544})
    store = FrameStore(bench / "frames", protocol.frames, data_root=bench)
    processor: Any = AutoProcessor.from_pretrained(folder)
    # as the server reads it: verl writes float32 weights beside a config that says bfloat16
    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")
    items = {item.index: item for item in read_set(bench / "rows.parquet").items}
    same = []
    for answer in answers:
        item = items[answer["index"]]
        content = [{"type": "video"}, {"type": "text", "text": protocol.text(item)}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        frames = np.array(store.frames(bench / str(item.video)).array)
        inputs = processor(text=[text], videos=[frames], do_sample_frames=False, return_tensors="pt")
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=protocol.max_tokens, do_sample=False)
        response = processor.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
        same.append(response == answer["response"])
    assert np.mean(same) >= 0.95, same  # a tie may fall either way


def lines(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def children(pid: int) -> list[int]:
    """All descendants."""
    direct = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return direct + [g for c in direct for g in children(c)]


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)
