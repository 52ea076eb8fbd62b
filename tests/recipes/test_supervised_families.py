"""Real SFT and DPO of each model family, with 32 frames, and an evaluation of what SFT has learnt.

Random weights of the real architectures at a tiny size; a run takes a minute where nothing else runs:
pytest -m slow tests/recipes/test_supervised_families.py
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from vsi_support.family_runs import QUESTIONS, SERVED, make_questions, settings, train
from vsi_support.model_folders import FAMILIES

pytest.importorskip("verl")  # whose plug-in lets transformers load where torchvision is a CUDA build

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText
from verl.utils import hf_processor

from verl_vsi.data_adapters.datasets.sft import VsiSFTDataset
from verl_vsi.data_adapters.positions import PositionRule, mrope_positions

if TYPE_CHECKING:
    from verl_vsi.config.recipes import Composer

pytestmark = [pytest.mark.slow, pytest.mark.e2e, pytest.mark.timeout(1800)]

TORCHRUN = [str(Path(sys.executable).with_name("torchrun")), "--standalone", "--nproc_per_node=1", "-m"]
SFT_STEPS = 60


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rooms and rows."""
    return make_questions(tmp_path_factory.mktemp("rooms"))


def overrides(root: Path, steps: int) -> list[str]:
    """Of SFT and DPO: all the few questions in each step."""
    words = [f"vsi.data.train={root}/rows/few.parquet", f"data.train_batch_size={QUESTIONS}", "data.max_length=1600"]
    words += ["data.micro_batch_size_per_gpu=2", f"trainer.total_training_steps={steps}", f"trainer.save_freq={steps}"]
    return [*words, f"trainer.total_epochs={steps}"]


@pytest.mark.parametrize("family", FAMILIES)
def test_sft_trains_what_an_evaluation_asks(family: str, root: Path, tmp_path: Path, compose: Composer) -> None:
    """SFT's first loss is that of transformers at vLLM's positions; what it has learnt, vLLM says, token for token."""
    words = ["sft_miniature", *overrides(root, SFT_STEPS), "optim.lr=5e-3"]
    steps = train([*TORCHRUN, "verl.trainer.sft_trainer", f"+recipe={words[0]}", *words[1:]], family, root, tmp_path)
    losses = [step["train/loss"] for step in steps if "train/loss" in step]
    assert len(losses) == SFT_STEPS
    processor: Any = hf_processor(str(tmp_path / "model"))
    data = compose.recipe([*words, *settings(family, root, tmp_path)]).data
    dataset = VsiSFTDataset(data.train_files, processor.tokenizer, data, processor)
    assert losses[0] == pytest.approx(first_loss(tmp_path / "model", dataset), rel=1e-5)
    assert losses[-1] < losses[0] / 3
    if family in SERVED:
        for scores, tokens in replayed(tmp_path / f"global_step_{SFT_STEPS}", dataset, evaluate(tmp_path, root)):
            assert (scores.max(-1).values - scores.gather(-1, tokens[:, None])[:, 0]).max() < 1e-3  # a tie at most


@pytest.mark.parametrize("family", FAMILIES)
def test_dpo_parts_right_from_wrong_answers(family: str, root: Path, tmp_path: Path) -> None:
    """It starts from -log(1/2), where the model is its own reference."""
    command = [*TORCHRUN, "verl_vsi.dpo", "+recipe=dpo_miniature", *overrides(root, 4), "optim.lr=1e-3"]
    losses = [step["train/loss"] for step in train(command, family, root, tmp_path) if "train/loss" in step]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < losses[0]


def first_loss(folder: Path, dataset: VsiSFTDataset) -> float:
    """Mean over the tokens of the right answers."""
    model, rows = load(folder), [dataset[i] for i in range(len(dataset))]
    answers = [row["input_ids"][row["loss_mask"] == 1] for row in rows]
    scores = [logits(model, row, answer) for row, answer in zip(rows, answers, strict=True)]
    return torch.nn.functional.cross_entropy(torch.cat(scores), torch.cat(answers)).item()


def replayed(step: Path, dataset: VsiSFTDataset, said: list[dict[str, Any]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each answer: what transformers would have said before each of its tokens (tokens, vocabulary), and these."""
    tokenizer, model = dataset.tokenizer, load(step / "huggingface")
    for answer in said:
        text = answer["response"] + ("" if answer["truncated"] else tokenizer.eos_token)
        tokens = torch.tensor(tokenizer(text)["input_ids"])
        yield logits(model, dataset[answer["index"]], tokens), tokens


def logits(model: Any, row: dict[str, Any], answer: Tensor) -> Tensor:
    """(tokens, vocabulary): before each token of an answer to a row's question, at positions as vLLM counts."""
    rule = PositionRule.of(model.config)
    assert rule is not None
    vision = row["multi_modal_inputs"]
    ids = torch.cat((row["input_ids"][row["loss_mask"] == 0], answer))[None]
    pixels = {key: vision[key] for key in ("pixel_values_videos", "video_grid_thw")}
    with torch.inference_mode():
        out = model(input_ids=ids, position_ids=mrope_positions(ids, rule, vision), **pixels)
    return out.logits[0, -len(answer) - 1 : -1]


def load(folder: Path) -> Any:
    """A model as it is served, in float32."""
    return AutoModelForImageTextToText.from_pretrained(folder, dtype="float32")


def evaluate(run: Path, root: Path) -> list[dict[str, Any]]:
    """Answers to the few questions; mode and frames are those of the run's record."""
    command = [sys.executable, "-m", "verl_vsi.cli", "eval", str(run), "--rows", f"{root}/rows/few.parquet"]
    command += [
        "--root",
        str(root),
        "--out",
        str(run / "eval"),
        "--prompts",
        "train",
        "--tasks",
        "present",
        "--max-model-len",
        "2048",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    answers = json.loads((run / "eval" / "normal.json").read_text())["answers"]
    assert len(answers) == QUESTIONS
    return answers
