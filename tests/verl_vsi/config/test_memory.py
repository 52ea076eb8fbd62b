"""What `recipes estimate` says of memory: against arithmetic by hand, and against what is allocated on a CPU."""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import fsdp_engine, process_group
from vsi_support.random_qwen2_vl import Sizes, random_model

from verl_vsi.config.estimate import estimate, fix, recipe_of
from verl_vsi.config.memory import CHUNK, CHUNK_LOGIT_BYTES, Recipe, host_terms, training_terms
from verl_vsi.config.recipes import Composer
from verl_vsi.sharing import log_probs
from verl_vsi.sharing.log_probs import LogProbHead


def gigabytes(recipe: Recipe) -> dict[str, float]:
    terms = [*training_terms(recipe), *host_terms(recipe)]
    return {term.what: term.bytes / 1e9 for term in terms}


BY_HAND = [
    # 2.21e9 weights x 4 B; 1024 positions x 151,936 x 12 B where all 14,336 took 21.8 GB
    ("vsgrpo_2b hardware=one_gpu mode=think", {"weights": 9.1, "logits": 1.87, "checkpointed activations": 1.33}),
    # recompute is off: 28 layers x 2352 tokens x (6 x 3584 + 1024 + 3 x 18,944) x 2 B
    ("vsgrpo_7b", {"weights": 16.6, "activations": 10.45}),
    # weights and a reference in bf16, float32 gradients whole, Adam and master weights over 8 GPUs: 78.8 GB
    ("vsgrpo_7b ablation=[full_tuning]", {"weights": 16.6, "reference": 16.6, "gradients": 33.2, "Adam": 12.4}),
    # bf16 weights of eight vLLMs at sleep level 1; eight ranks that load float32
    ("vsgrpo_2b", {"vLLM asleep": 35.3, "while loading": 70.7}),
    ("vsgrpo_7b backend=fsdp2", {"vLLM asleep": 132.6, "while loading": 265.3}),
]


@pytest.mark.parametrize(("command", "expected"), BY_HAND)
def test_terms_are_those_of_arithmetic_by_hand(compose: Composer, command: str, expected: dict[str, float]) -> None:
    terms = gigabytes(recipe_of(compose.recipe(command)))
    assert {what: terms[what] for what in expected} == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(
    ("command", "capacity", "verdict", "remedy"),
    [
        ("vsgrpo_7b ablation=[full_tuning]", 80e9, "does not fit", "backend=fsdp2"),
        ("vsgrpo_7b", 80e9, "fits", ""),
        ("vsgrpo_2b hardware=one_gpu mode=think", 80e9, "fits", ""),
        ("vsgrpo_2b hardware=one_gpu mode=think", 4e9, "does not fit", ""),  # nothing helps
        ("vsgrpo_7b ablation=[full_tuning] hardware=one_gpu", 80e9, "does not fit", "hardware=2x8 backend=fsdp2"),
    ],
)
def test_what_does_not_fit_is_said_with_the_setting_that_would(
    compose: Composer, command: str, capacity: float, verdict: str, remedy: str
) -> None:
    lines = estimate(compose.recipe(command), rows=9600, videos=10, capacity=capacity)
    assert lines[[line.what.startswith("GPU of") for line in lines].index(True)].amount.startswith(verdict)
    assert fix(compose.recipe, command.split(), capacity) == remedy


MID_SIZE = Sizes(hidden=256, feed_forward=1024, layers=4, heads=8, groups=2, vision_width=64, vocabulary=4096)


@pytest.mark.parametrize("sizes", [Sizes(), MID_SIZE], ids=["tiny", "mid-size"])
@pytest.mark.usefixtures("untouched_transformers")
@pytest.mark.parametrize("rank", [0, 8], ids=["full", "LoRA"])
def test_weights_gradients_and_adam_are_what_fsdp2_allocates(
    compose: Composer, tmp_path: Path, sizes: Sizes, rank: int
) -> None:
    random_model(sizes).save_pretrained(tmp_path)
    terms = gigabytes(recipe_of(compose.recipe(f"vsgrpo_miniature vsi.model={tmp_path} vsi.lora.rank={rank}")))
    with process_group():
        engine = fsdp_engine(tmp_path, lora_rank=rank, exclude_modules=".*visual.*")
        batch = engine_batch([SampleQuestion((5, 3))])
        with engine.train_mode():
            engine.optimizer.zero_grad()
            engine.forward_backward_batch(batch, ppo_loss(), forward_only=False)
            parameters = list(engine.module.parameters())
            allocated = {
                "weights": sum(map(size, parameters)),
                "gradients": sum(size(p.grad) for p in parameters if p.grad is not None),
            }
            engine.optimizer_step()
    states = engine.optimizer.state.values()
    allocated["Adam"] = sum(size(value) for state in states for name, value in state.items() if name != "step")
    assert {what: terms[what] * 1e9 for what in allocated} == pytest.approx(allocated, rel=0.15)


def size(tensor: Any) -> int:
    local = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.numel() * local.element_size()


class PeakMemory(TorchDispatchMode):
    """Bytes of tensors that operators give and that live at once, at most."""

    def __init__(self) -> None:
        super().__init__()
        self.live, self.peak = 0, 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor.untyped_storage())
        self.peak = max(self.peak, self.live)
        return outputs

    def _add(self, storage: Any) -> None:
        key, count = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.live += count
            weakref.finalize(storage, self._remove, key, count)

    def _remove(self, key: int, count: int) -> None:
        self.known.discard(key)
        self.live -= count


@pytest.mark.parametrize("positions", [CHUNK // 2, 3 * CHUNK])
def test_logits_take_a_chunk_however_many_positions_there_are(positions: int) -> None:
    assert log_probs._CHUNK == CHUNK
    layer = torch.nn.Linear(8, 4096, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    hidden = torch.randn(positions, 8, dtype=torch.bfloat16, requires_grad=True)
    with PeakMemory() as memory:
        outputs = LogProbHead(1.0, "metric")(layer, hidden, torch.zeros(positions, dtype=torch.long))
        outputs["log_probs"].sum().backward()
    assert memory.peak == pytest.approx(min(positions, CHUNK) * 4096 * CHUNK_LOGIT_BYTES, rel=0.15)
