"""Tensor and sequence parallelism over two processes and gloo: the same logits as one process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from vsi_support.padded_batches import PaddedBatch
from vsi_support.random_qwen2_vl import Sizes

RANK = """
import sys
from dataclasses import replace
from pathlib import Path
import torch, torch.distributed as dist
try:
    import verl
except ImportError:
    pass
from megatron.core import parallel_state
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.transformer.torch_norm import WrappedTorchNorm
from vsi_support.megatron_core_model import core_model, load, without_gpu
# torch's norm works on half a sequence as on a whole one, and megatron-core refuses it only because it does not add up
# the halves' gradients (the test leaves these out)
norm = WrappedTorchNorm.__new__
WrappedTorchNorm.__new__ = lambda cls, config, *rest, **options: norm(
    cls, replace(config, sequence_parallel=False), *rest, **options)
rank, folder, sequence_parallel = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "True"
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous-{sequence_parallel}", rank=rank, world_size=2)
parallel_state.initialize_model_parallel(tensor_model_parallel_size=2)
job = torch.load(folder / "job.pt", weights_only=False)
with without_gpu():
    spec = get_gpt_layer_local_spec(normalization="RMSNorm")
    model = core_model(job["config"], spec, use_cpu_initialization=True, sequence_parallel=sequence_parallel)
    load(model, job["weights"], job["config"])
    logits = model(job["ids"], attention_mask=job["mask"], **job["vision"])
    (logits * job["loss"]).sum().backward()
gradients = {name: value.grad for name, value in model.named_parameters()}
torch.save({"logits": logits.detach(), "gradients": gradients}, folder / f"rank-{rank}-{sequence_parallel}.pt")
"""


@pytest.fixture(scope="module")
def job(
    make_pair: Any, videos: PaddedBatch, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, dict[str, Any]]:
    """One rank's logits and gradients, and what two ranks need to compute theirs."""
    pair = make_pair(Sizes())
    even = videos.input_ids.shape[1] // 2 * 2  # sequence parallelism halves the row
    job = {
        "config": pair.hf.config,
        "weights": pair.weights,
        "ids": videos.input_ids[:, :even],
        "mask": videos.mask[:, :even],
        "vision": videos.vision,
    }
    logits = pair.megatron(job["ids"], attention_mask=job["mask"], **job["vision"])
    job["loss"] = torch.randn(logits.shape, generator=torch.Generator().manual_seed(5))
    (logits * job["loss"]).sum().backward()
    folder = tmp_path_factory.mktemp("parallel")
    torch.save(job, folder / "job.pt")
    return folder, pair, {"logits": logits.detach()}


@pytest.mark.parametrize("sequence_parallel", [False, True], ids=["tensor parallel", "and sequence parallel"])
def test_two_ranks_have_the_logits_and_gradients_of_one(job: Any, sequence_parallel: bool) -> None:
    from vsi_support.megatron_core_model import shard

    folder, pair, one = job
    command = [sys.executable, "-W", "ignore", "-c", RANK]
    ranks = [subprocess.Popen([*command, str(rank), str(folder), str(sequence_parallel)]) for rank in range(2)]
    assert [rank.wait(timeout=280) for rank in ranks] == [0, 0]
    scale = one["logits"].abs().max()
    for rank in range(2):
        two = torch.load(folder / f"rank-{rank}-{sequence_parallel}.pt")
        assert two["logits"].shape == one["logits"].shape
        assert float((two["logits"] - one["logits"]).abs().max() / scale) < 1e-5
        for name, parameter in pair.megatron.named_parameters():
            if sequence_parallel and replicated_in_the_decoder(name):
                continue  # each rank has its half of the sequence; Megatron adds them up after the backward pass
            expected = shard(name, parameter.grad, two["gradients"][name].shape, rank)
            assert float((two["gradients"][name] - expected).abs().max() / parameter.grad.abs().max()) < 1e-5, name


def replicated_in_the_decoder(name: str) -> bool:
    return name.startswith("language_model.decoder") and "layernorm" in name
