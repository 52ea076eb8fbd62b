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
from functools import partial
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from vsi_support.engine_batches import SampleQuestion, engine_batch, ppo_loss
from vsi_support.engines import UPSTREAM, answers, fsdp_engine, megatron_engine
from vsi_support.marks import needs_bridge
from vsi_support.random_models import FAMILIES
from vsi_support.random_qwen2_vl import Sizes

from verl_vsi.evaluation.ask.checkpoints import as_served
from verl_vsi.sharing import shadow
from verl_vsi.sharing.eligibility import VENDOR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(590), needs_bridge]

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
    model: str = "untied"
    """Of `MODELS`."""
    rows: int = 4
    """Of a micro-batch."""
    transformer: Mapping[str, Any] = field(default_factory=dict)
    lora: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def expected(self) -> str:
        """The results that these must be: FSDP2's of the model; with LoRA verl's own on Megatron."""
        return "verl's own, LoRA" if self.lora else f"fsdp, {self.model}"


TP2 = {"tensor_model_parallel_size": 2, "sequence_parallel": False}
TP2_SP = {"tensor_model_parallel_size": 2, "sequence_parallel": True}
PP2 = {"pipeline_model_parallel_size": 2}
CASES = {
    "verl's own": Case(vendor=UPSTREAM, rows=ROWS),
    "verl's own, tied": Case(vendor=UPSTREAM, rows=ROWS, model="tied"),
    "verl's own, padded": Case(vendor=UPSTREAM, rows=ROWS, parallel={"use_remove_padding": False}),
    "shared": Case(),
    "shared, one micro-batch": Case(rows=ROWS),
    "shared, cut groups": Case(rows=3),
    "shared, tied": Case(model="tied"),
    "shared, full recompute": Case(transformer=RECOMPUTE["full"]),
    "shared, selective recompute": Case(transformer=RECOMPUTE["selective"]),
    "shared, Qwen2.5-VL": Case(model="qwen2_5_vl", transformer={"mrope_section": [2, 3, 3]}),
    "verl's own, LoRA": Case(vendor=UPSTREAM, rows=ROWS, lora=True),
    "shared, LoRA": Case(lora=True),
    "shared, TP2": Case(2, TP2),
    "shared, TP2 with sequence parallelism": Case(2, TP2_SP),
    "shared, TP2 with sequence parallelism, full recompute": Case(2, TP2_SP, transformer=RECOMPUTE["full"]),
    "shared, PP2": Case(2, PP2),
    "shared, PP2, tied": Case(2, PP2, model="tied"),
    "shared, DP2 with the distributed optimizer": Case(2, model="tied", rows=3),
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


def results(engine: Any, rows: int, shard: slice, family: str) -> Results:
    """One forward pass, and the gradients of one update.

    Args:
        engine: of verl's or ours.
        rows: of a micro-batch.
        shard: of the questions, this rank's.
        family: of the model.
    """
    make_batch = partial(engine_batch, family=FAMILIES[family])
    part, settings = QUESTIONS[shard], {"use_remove_padding": True, "micro_batch_size_per_gpu": rows}
    settings |= {"global_batch_size": ROWS}
    batch = make_batch(part, **settings)
    with engine.eval_mode(), torch.no_grad():
        output = engine.forward_backward_batch(batch, None, forward_only=True)
    before = weights(engine)
    with engine.train_mode():
        engine.train_batch(make_batch(part, **settings), ppo_loss())
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


def fsdp_results(folder: Path, model: str) -> Results:
    """verl's FSDP2, on one rank."""
    engine = fsdp_engine(folder / model, UPSTREAM)
    descend(engine.optimizer)
    engine.optimizer_config.clip_grad = 1e9
    return results(engine, ROWS, slice(None), MODELS[model][0])


def make_engine(folder: Path, case: Case) -> Any:
    """An engine on Megatron; adapters are no zeros, so that they change what the model says.

    Args:
        folder: of the models.
        case: how it is spread, and what it computes.
    """
    lora = {"lora": {"type": "lora", "rank": 8, "alpha": 16, "merge": True}} if case.lora else {}
    engine = megatron_engine(
        folder / case.model,
        case.vendor,
        options=dict(case.options) if case.vendor else None,
        model=lora,
        transformer=dict(case.transformer),
        **dict(case.parallel),
    )
    for name, parameter in engine.module[0].named_parameters():
        if "adapter" in name:
            draw = torch.Generator().manual_seed(sum(map(ord, name)))
            parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=draw))
    return engine


def megatron_results(folder: Path, case: Case) -> Results:
    """This rank's; outputs are on the last pipeline stage's first rank alone."""
    engine = make_engine(folder, case)
    if case.vendor == VENDOR:
        assert engine.why_upstream is None
    for part in getattr(engine.optimizer, "chained_optimizers", [engine.optimizer]):
        descend(part.optimizer)
        part.config.clip_grad = 1e9
    share = len(QUESTIONS) // engine.get_data_parallel_size()
    start = engine.get_data_parallel_rank() * share
    own = results(engine, case.rows, slice(start, start + share), MODELS[case.model][0])
    return own if engine.is_mp_src_rank_with_outputs() else {**own, "outputs": {}}


MODELS = {
    "untied": ("qwen2_vl", Sizes(tied=False)),
    "tied": ("qwen2_vl", Sizes(tied=True)),
    "qwen2_5_vl": ("qwen2_5_vl", Sizes()),
}
"""Folder -> family and sizes."""

RESUMED = {
    "one rank": Case(),
    "one rank, LoRA": Case(lora=True),
    "TP2 with sequence parallelism": Case(2, TP2_SP),
    "PP2": Case(2, PP2),
}


def resumed(folder: Path, case: Case, name: str) -> float:
    """How far a run that went on from its checkpoint is from one that was not interrupted.

    Args:
        folder: of the models and checkpoints.
        case: how the engines are spread.
        name: of the checkpoint.
    """

    def step(engine: Any) -> dict[str, torch.Tensor]:
        batch = engine_batch(QUESTIONS, use_remove_padding=True, micro_batch_size_per_gpu=case.rows)
        with engine.train_mode():
            engine.train_batch(batch, ppo_loss())
            engine.lr_scheduler_step()
        return weights(engine)

    first = make_engine(folder, case)
    step(first)
    first.save_checkpoint(str(folder / f"checkpoint, {name}"), global_step=1)
    torch.save(weights(first), folder / f"saved, {name}.pt")
    uninterrupted = step(first)
    second = make_engine(folder, case)
    second.load_checkpoint(str(folder / f"checkpoint, {name}"), del_local_after_load=False)
    continued = step(second)
    return max(float((continued[weight] - tensor).abs().max()) for weight, tensor in uninterrupted.items())


SHADOWED = {
    "one rank": Case(options={"vsi_shadow": True}),
    "PP2": Case(2, PP2, options={"vsi_shadow": True}),
    "TP2": Case(2, TP2, options={"vsi_shadow": True}),
}


def shadowed(folder: Path, case: Case) -> dict[str, float]:
    """What shadow mode reports of an update; nothing on ranks without outputs."""
    engine = make_engine(folder, case)
    batch = engine_batch(QUESTIONS, use_remove_padding=True, micro_batch_size_per_gpu=case.rows)
    with engine.train_mode():
        metrics = engine.train_batch(batch, ppo_loss()).get("metrics", {})
    return {name: max(values) for name, values in metrics.items() if name.startswith("shadow/")}


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
        for model in MODELS:
            torch.save(fsdp_results(folder, model), folder / f"fsdp, {model}.0.pt")
    tasks = [
        *((name, case, megatron_results) for name, case in CASES.items()),
        *((f"resumed, {name}", case, partial(resumed, name=name)) for name, case in RESUMED.items()),
        *((f"shadow, {name}", case, shadowed) for name, case in SHADOWED.items()),
    ]
    for name, case, compute in tasks:
        if case.ranks == ranks:
            torch.save(compute(folder, case), folder / f"{name}.{rank}.pt")
            parallel_state.destroy_model_parallel()
    dist.barrier()
    for child in active_children():  # of Megatron's writer of checkpoints
        child.terminate()
    os._exit(0)  # gloo's threads outlive what they served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models."""
    folder = tmp_path_factory.mktemp("ranks")
    for name, (family, sizes) in MODELS.items():
        FAMILIES[family].random_model(sizes).save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def computed(folder: Path) -> Callable[[int], None]:
    """Have all cases with so many ranks computed."""

    computed: dict[int, bool] = {}

    def compute(ranks: int) -> None:
        if ranks not in computed:
            computed[ranks] = False
            run(ranks)
            computed[ranks] = True
        assert computed[ranks], f"the processes of {ranks} ranks failed: see the first test that needed them"

    def run(ranks: int) -> None:
        command = [sys.executable, "-W", "ignore", __file__]
        processes = [subprocess.Popen([*command, str(rank), str(ranks), str(folder)]) for rank in range(ranks)]
        try:
            assert [process.wait(timeout=550) for process in processes] == [0] * ranks
        finally:
            for process in processes:
                process.kill()

    return compute


def loaded(folder: Path, name: str) -> list[Any]:
    """The results of all ranks."""
    return [torch.load(file) for file in sorted(folder.glob(f"{name}.[0-9].pt"))]


@pytest.mark.parametrize("name", CASES)
def test_megatron_gives_fsdps_numbers(folder: Path, computed: Callable[[int], None], name: str) -> None:
    case = CASES[name]
    for ranks in {1, case.ranks}:
        computed(ranks)
    (expected,) = loaded(folder, case.expected)
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


@pytest.mark.parametrize("name", RESUMED)
def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(
    folder: Path, computed: Callable[[int], None], name: str
) -> None:
    computed(RESUMED[name].ranks)
    assert loaded(folder, f"resumed, {name}") == [0.0] * RESUMED[name].ranks


def test_eval_merges_the_adapter_as_the_weight_sync_does(folder: Path, computed: Callable[[int], None]) -> None:
    from rich.console import Console
    from safetensors.torch import load_file

    computed(1)
    name = "one rank, LoRA"
    served = as_served(str(folder / f"checkpoint, {name}"), lora="fold", console=Console())
    synced = torch.load(folder / f"saved, {name}.pt")
    merged = load_file(Path(served.model) / "model.safetensors")
    assert merged.keys() == synced.keys()
    for weight, tensor in synced.items():
        torch.testing.assert_close(merged[weight], tensor, atol=1e-6, rtol=0, msg=weight)


@pytest.mark.parametrize("name", SHADOWED)
def test_shadow_mode_reports_small_differences(folder: Path, computed: Callable[[int], None], name: str) -> None:
    computed(SHADOWED[name].ranks)
    (reported,) = [report for report in loaded(folder, f"shadow, {name}") if report][:1]
    assert reported.keys() == {"shadow/update_log_probs_max", "shadow/update_entropy_max", "shadow/gradient_max"}
    assert 0 < max(reported.values()) < TOLERANCE


if __name__ == "__main__":
    work(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
