"""Tiny Qwen2-VLs, in transformers and in Megatron, on a CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

os.environ["VERL_PLATFORM"] = "cpu"

import torch
from torch import Tensor
from vsi_support.engines import process_group
from vsi_support.padded_batches import PaddedBatch, padded_batch
from vsi_support.random_qwen2_vl import IMAGE, VIDEO, Sizes, published_weights, random_model


@pytest.fixture(scope="session", autouse=True)
def shims() -> None:
    """verl opens our plug-in, which brings what torchvision needs on a CPU; without verl nothing needs it."""
    with suppress(ImportError):
        import verl  # noqa: F401


@pytest.fixture(scope="session")
def megatron() -> Iterator[None]:
    """Megatron's process groups in this process alone."""
    pytest.importorskip("megatron.core", reason="megatron-core is not installed")
    from megatron.core import parallel_state
    from vsi_support.megatron_core_model import without_gpu

    torch.set_num_threads(1)
    with process_group(), without_gpu():
        parallel_state.initialize_model_parallel()
        yield
        parallel_state.destroy_model_parallel()


@pytest.fixture(scope="session")
def videos() -> PaddedBatch:
    """A video; two videos; no vision; an image and a video: all of other lengths and sizes."""
    return padded_batch(
        [
            [5, (VIDEO, (2, 4, 6)), 9],
            [3, (VIDEO, (1, 4, 4)), 4, (VIDEO, (3, 6, 8)), 6],
            [11],
            [2, (IMAGE, (1, 4, 8)), 3, (VIDEO, (2, 4, 4)), 7],
        ]
    )


@dataclass(frozen=True)
class Pair:
    """The same model twice, and its weights under the published names."""

    hf: Any
    megatron: Any
    weights: dict[str, Tensor]

    def hf_logits(self, batch: PaddedBatch) -> Tensor:
        return self.hf(
            input_ids=batch.input_ids,
            attention_mask=batch.mask.long(),
            mm_token_type_ids=batch.types,
            **batch.vision,
        ).logits

    def megatron_logits(self, batch: PaddedBatch, **arguments: Any) -> Tensor:
        return self.megatron(batch.input_ids, attention_mask=batch.mask, **batch.vision, **arguments)


@pytest.fixture(scope="session")
def make_pair(megatron: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    """A random model in transformers, and in Megatron with its weights."""

    def make(sizes: Sizes, *, spec: Any = None, **overrides: Any) -> Pair:
        from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
        from vsi_support.megatron_core_model import core_model, load

        hf = random_model(sizes)
        weights = published_weights(hf, tmp_path_factory.mktemp("hf"))
        spec = spec or get_gpt_layer_local_spec(normalization="RMSNorm")
        model = core_model(hf.config, spec, use_cpu_initialization=True, **overrides)
        load(model, weights, hf.config)
        return Pair(hf, model, weights)

    return make


@pytest.fixture(scope="session", params=[False, True], ids=["untied", "tied"])
def pair(request: pytest.FixtureRequest, make_pair: Callable[..., Pair]) -> Pair:
    return make_pair(Sizes(tied=request.param))
