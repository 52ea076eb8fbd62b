"""The peer: TRL's GRPOTrainer on the work of `step.py`, which starts this in an environment of TRL's own:

    python3.11 -m venv trl && trl/bin/pip install "trl==1.16.0" "torch==2.13.0+cpu" torchvision pillow
    python benchmarks/step.py --trl trl/bin/python

The CPU build of torch comes from where pip finds it, or from https://download.pytorch.org/whl/cpu. Same weights,
questions, rollouts, answer length, KL and micro-batches (one question's 14 rollouts, accumulated). TRL's GRPO takes
images and no videos: the video's 512 tokens are given as 4 images of 128 tokens, which is the same work for the vision
tower. Answers come from transformers' `generate`: TRL's vLLM mode wants a GPU or a server.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image

TORCHVISION = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms") if torch.version.cuda is None else ():
    # A CUDA build of torchvision beside a CPU build of torch dies on its import without these; nobody calls them.
    TORCHVISION.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from step import ANSWER, QUESTIONS, N  # noqa: E402
from transformers import AutoProcessor, Qwen2VLForConditionalGeneration, TrainerCallback  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402  # pyright: ignore[reportMissingImports]


class TimedTrainer(GRPOTrainer):
    """TRL's trainer, with the seconds of its phases."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        super().__init__(*args, **kwargs)

    def timed(self, name: str, function: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = function()
        self.seconds[name] += time.perf_counter() - start
        return result

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        return self.timed("gen", lambda: super(TimedTrainer, self)._generate(*args, **kwargs))

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        name = "inside_update" if torch.is_grad_enabled() else "ref"
        return self.timed(name, lambda: super(TimedTrainer, self)._get_per_token_logps_and_entropies(*args, **kwargs))

    def _prepare_inputs(self, *args: Any, **kwargs: Any) -> Any:
        return self.timed("prepare", lambda: super(TimedTrainer, self)._prepare_inputs(*args, **kwargs))

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        return self.timed("all", lambda: super(TimedTrainer, self).training_step(*args, **kwargs))


class Log(TrainerCallback):
    """A line a step, as verl's file logger writes it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True)
        self.path, self.start = path, 0.0
        self.trainer: Any = None

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self.start = time.perf_counter()
        self.trainer.seconds.clear()

    def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
        seconds = self.trainer.seconds
        timing = {"step": time.perf_counter() - self.start, "gen": seconds["gen"], "ref": seconds["ref"]}
        timing["update_actor"] = seconds["all"] - seconds["prepare"]
        data = {f"timing_s/{name}": value for name, value in timing.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": state.global_step, "data": data, "trl": version("trl")}) + "\n")


def questions(folder: Path) -> Dataset:
    """Each question with its images."""
    texts, frames = json.loads((folder / "trl.json").read_text()), np.load(folder / "trl.npy")
    rows = [
        {"prompt": [{"role": "user", "content": text}], "images": [Image.fromarray(image) for image in images]}
        for text, images in zip(texts, frames, strict=True)
    ]
    return Dataset.from_list(rows)


def reward(completions: list[Any], **_: Any) -> list[float]:
    """Random weights earn nothing; the length makes an advantage."""
    return [float(len(str(completion)) % 7) for completion in completions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    log = Log(options.out)
    config = GRPOConfig(
        output_dir=str(options.out.parent / "trl"),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=N,
        gradient_accumulation_steps=QUESTIONS,
        num_generations=N,
        max_completion_length=ANSWER,
        temperature=1.0,
        beta=1e-4,
        loss_type="grpo",
        learning_rate=1e-4,
        max_steps=options.steps,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        dataloader_num_workers=0,
    )
    log.trainer = TimedTrainer(
        model=Qwen2VLForConditionalGeneration.from_pretrained(options.folder / "model", attn_implementation="sdpa"),
        processing_class=AutoProcessor.from_pretrained(options.folder / "model", padding_side="left"),
        reward_funcs=reward,
        args=config,
        train_dataset=questions(options.folder),
        callbacks=[log],
    )
    log.trainer.train()


if __name__ == "__main__":
    main()
