"""verl's Megatron engine on a CPU, its own passes and shared ones, on one rank and on several: all give the same.

Everything is held against verl's FSDP2 engine on one rank: log-probabilities and entropies, and the gradient of every
parameter, as what an update by plain gradient descent takes from the weights, exported under their published names.

Slow, because each rank is a process that imports verl, and needs the set of `make megatron`:

    .venv-megatron/bin/python -m pytest -m slow tests/verl_vsi/megatron/test_shared_engine.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, answers, fsdp_engine, megatron_engine
from vsi_support.random_models import FAMILIES
from vsi_support.random_qwen2_vl import Sizes

from verl_vsi.sharing import shadow
from verl_vsi.sharing.eligibility import VENDOR

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(280),
    pytest.mark.skipif(
        find_spec("megatron") is None or find_spec("megatron.bridge") is None, reason="Megatron-Bridge is not installed"
    ),
]

QUESTIONS = [
    SampleQuestion((5, 9, 3, 7), seed=0),
    SampleQuestion((4, 6, 8, 2), seed=1, text_seed=1, grids=((2, 4, 6), (1, 4, 4))),
    SampleQuestion((3, 5), seed=2, text_seed=2, grids=()),
    SampleQuestion((1, 2), seed=3, text_seed=3),
]
ROWS = sum(len(question.answers) for question in QUESTIONS)
TOLERANCE = 1e-5

Results = dict[str, dict[str, torch.Tensor]]
"""`outputs` of a forward pass, `gradients` of an update."""

RECOMPUTE = {
    "full": {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1},
    "selective": {"recompute_granularity": "selective", "recompute_modules": ["core_attn"]},
}


@dataclass(frozen=True)
class Case:
    """One way to spread and compute the model."""

    ranks: int = 1
    parallel: Mapping[str, Any] = field(default_factory=dict)
    vendor: str = VENDOR
    tied: bool = False
    rows: int = 4
    """Of a micro-batch."""
    transformer: Mapping[str, Any] = field(default_factory=dict)


TP2 = {"tensor_model_parallel_size": 2, "sequence_parallel": False}
TP2_SP = {"tensor_model_parallel_size": 2, "sequence_parallel": True}
PP2 = {"pipeline_model_parallel_size": 2}
CASES = {
    "verl's own": Case(vendor=UPSTREAM, rows=ROWS),
    "verl's own, tied": Case(vendor=UPSTREAM, rows=ROWS, tied=True),
    "verl's own, padded": Case(vendor=UPSTREAM, rows=ROWS, parallel={"use_remove_padding": False}),
    "shared": Case(),
    "shared, one micro-batch": Case(rows=ROWS),
    "shared, cut groups": Case(rows=3),
    "shared, tied": Case(tied=True),
    "shared, full recompute": Case(transformer=RECOMPUTE["full"]),
    "shared, selective recompute": Case(transformer=RECOMPUTE["selective"]),
    "shared, TP2": Case(2, TP2),
    "shared, TP2 with sequence parallelism": Case(2, TP2_SP),
    "shared, TP2 with sequence parallelism, full recompute": Case(2, TP2_SP, transformer=RECOMPUTE["full"]),
    "shared, PP2": Case(2, PP2),
    "shared, PP2, tied": Case(2, PP2, tied=True),
    "shared, DP2 with the distributed optimizer": Case(2, tied=True, rows=3),
    "shared, TP2 and PP2": Case(4, TP2_SP | PP2),
    "verl's own, TP2 and PP2": Case(4, TP2_SP | PP2, vendor=UPSTREAM, rows=3),
}


RATE = 1e4
"""Of the update: so large that what rounding takes from the weights takes nothing from their difference."""


def descend(optimizer: torch.optim.Optimizer) -> None:
    """Make Adam plain gradient descent: an update then shows the gradients.

    Megatron's distributed optimizer takes no other than Adam, whose first step would show their signs only.
    """
    epsilon = 1e4
    for group in optimizer.param_groups:
        group |= {"lr": RATE * epsilon, "eps": epsilon, "weight_decay": 0.0}


def results(engine: Any, rows: int, shard: slice) -> Results:
    """One forward pass, and the gradients of one update.

    Args:
        engine: of verl's or ours.
        rows: of a micro-batch.
        shard: of the questions, this rank's.
    """
    part, settings = QUESTIONS[shard], {"use_remove_padding": True, "micro_batch_size_per_gpu": rows}
    settings |= {"global_batch_size": ROWS}
    batch = engine_batch(part, **settings)
    with engine.eval_mode(), torch.no_grad():
        output = engine.forward_backward_batch(batch, None, forward_only=True)
    before = weights(engine)
    with engine.train_mode():
        engine.train_batch(engine_batch(part, **settings), ppo_loss())
    after = weights(engine)
    return {
        "outputs": {name: answers(values, batch) for name, values in output.get("model_output", {}).items()},
        "gradients": {name: (tensor - after[name]) / RATE for name, tensor in before.items()},
    }


def weights(engine: Any) -> dict[str, torch.Tensor]:
    """All weights, whole, under the names of published checkpoints."""
    exported = {published(name): shadow.whole(tensor) for name, tensor in engine.get_per_tensor_param()[0]}
    if engine.model_config.hf_config.tie_word_embeddings:
        exported.pop("lm_head.weight", None)
    return exported


def published(name: str) -> str:
    """A weight's name in published checkpoints, from that in transformers 5."""
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


def fsdp_results(folder: Path) -> Results:
    """verl's FSDP2, on one rank."""
    engine = fsdp_engine(folder, UPSTREAM)
    descend(engine.optimizer)
    engine.optimizer_config.clip_grad = 1e9
    return results(engine, ROWS, slice(None))


def megatron_results(folder: Path, case: Case) -> Results:
    """This rank's; outputs are on the last pipeline stage's first rank alone."""
    engine = megatron_engine(folder, case.vendor, transformer=dict(case.transformer), **dict(case.parallel))
    if case.vendor == VENDOR:
        assert engine.why_upstream is None
    for part in getattr(engine.optimizer, "chained_optimizers", [engine.optimizer]):
        descend(part.optimizer)
        part.config.clip_grad = 1e9
    share = len(QUESTIONS) // engine.get_data_parallel_size()
    start = engine.get_data_parallel_rank() * share
    own = results(engine, case.rows, slice(start, start + share))
    return own if engine.is_mp_src_rank_with_outputs() else {**own, "outputs": {}}


MODELS = {False: "untied", True: "tied"}
FSDP = {False: "fsdp", True: "fsdp, tied"}


def work(rank: int, ranks: int, folder: Path) -> None:
    """One rank of every case with so many ranks, one after the other; writes its results.

    Args:
        rank: of this process.
        ranks: in all.
        folder: of the models, and of what is written.
    """
    from megatron.core import parallel_state

    torch.set_num_threads(1)
    dist.init_process_group("cpu:gloo", init_method=f"file://{folder}/rendezvous{ranks}", rank=rank, world_size=ranks)
    if ranks == 1:
        for tied, name in FSDP.items():
            torch.save(fsdp_results(folder / MODELS[tied]), folder / f"{name}.0.pt")
    for name, case in CASES.items():
        if case.ranks == ranks:
            torch.save(megatron_results(folder / MODELS[case.tied], case), folder / f"{name}.{rank}.pt")
            parallel_state.destroy_model_parallel()
    dist.barrier()
    os._exit(0)  # gloo's threads outlive what they served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two models."""
    folder = tmp_path_factory.mktemp("ranks")
    for tied, name in MODELS.items():
        FAMILIES["qwen2_vl"].random_model(Sizes(tied=tied)).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def computed(folder: Path) -> Callable[[int], None]:
    """Have all cases with so many ranks computed."""

    @cache
    def compute(ranks: int) -> None:
        command = [sys.executable, "-W", "ignore", __file__]
        processes = [subprocess.Popen([*command, str(rank), str(ranks), str(folder)]) for rank in range(ranks)]
        try:
            assert [process.wait(timeout=250) for process in processes] == [0] * ranks
        finally:
            for process in processes:
                process.kill()

    return compute


def loaded(folder: Path, name: str) -> list[Results]:
    """The results of all ranks."""
    return [torch.load(file) for file in sorted(folder.glob(f"{name}.[0-9].pt"))]


@pytest.mark.parametrize("name", CASES)
def test_megatron_gives_fsdps_numbers(folder: Path, computed: Callable[[int], None], name: str) -> None:
    case = CASES[name]
    for ranks in {1, case.ranks}:
        computed(ranks)
    (expected,) = loaded(folder, FSDP[case.tied])
    ranks = loaded(folder, name)
    assert len(ranks) == case.ranks
    for output, values in expected["outputs"].items():
        parts = [rank["outputs"][output] for rank in ranks if rank["outputs"]]
        torch.testing.assert_close(torch.cat(parts), values, atol=TOLERANCE, rtol=0)
    for rank in ranks:
        assert rank["gradients"].keys() == expected["gradients"].keys()
        assert {
            weight: distance
            for weight, gradient in expected["gradients"].items()
            if (distance := ((rank["gradients"][weight] - gradient).norm() / gradient.norm()).item()) > TOLERANCE
        } == {}


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
