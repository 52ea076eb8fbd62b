"""What verl's Megatron engine hands the model and reads back, padded and packed, with verl's own functions.

megatron-core has attention over packed rows in TransformerEngine only, so a plain one stands in for it here; the
packing, the positions and their place in the packed row are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from vsi_support.padded_batches import PAD, PaddedBatch
from vsi_support.random_qwen2_vl import VOCABULARY, Sizes

from verl_vsi.megatron.model_inputs import row_packing

pytest.importorskip("verl", reason="verl is not installed")
TOLERANCE = 1e-5


def packed_spec() -> Any:
    """megatron-core's local layers with an attention that takes packed rows."""
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer.dot_product_attention import DotProductAttention

    class PackedAttention(DotProductAttention):
        def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, query: Tensor, key: Tensor, value: Tensor, *arguments: Any, packed_seq_params: Any = None, **rest: Any
        ) -> Tensor:
            if packed_seq_params is None:
                return super().forward(query, key, value, *arguments, **rest)
            starts = packed_seq_params.cu_seqlens_q_padded.tolist()
            rows = pairwise(starts)
            return torch.cat([attend(query[a:b], key[a:b], value[a:b]) for a, b in rows])

    spec: Any = get_gpt_layer_local_spec(normalization="RMSNorm")
    spec.submodules.self_attention.submodules.core_attention = PackedAttention
    return spec


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Causal attention of one row, (tokens, heads, width) each."""
    query, key, value = (part.transpose(0, 1) for part in (query, key, value))
    out = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
    return out.transpose(0, 1).flatten(1)


@pytest.fixture(scope="module")
def pair(make_pair: Callable[..., Any]) -> Any:
    return make_pair(Sizes(), spec=packed_spec())


@pytest.fixture(scope="module")
def nested(videos: PaddedBatch) -> Tensor:
    """As verl's engine has ids: jagged, without padding."""
    rows = [ids[mask] for ids, mask in zip(videos.input_ids, videos.mask, strict=True)]
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def verl_logits(pair: Any, nested: Tensor, vision: dict[str, Tensor], data_format: str, **options: Any) -> list[Tensor]:
    from verl.models.mcore.model_forward import gptmodel_forward_model_engine

    with torch.no_grad():
        logits: Any = gptmodel_forward_model_engine(
            pair.megatron, nested, vision, vision_model=True, pad_token_id=PAD, data_format=data_format, **options
        )
    return list(logits.unbind())


@pytest.mark.parametrize(
    ("data_format", "options"),
    [("bshd", {}), ("bshd", {"forced_max_seqlen": 80}), ("thd", {}), ("thd", {"pad_to_length_bucket": 64})],
    ids=["padded", "padded further", "packed", "packed to a round length"],
)
def test_logits_through_verl_are_transformers(
    pair: Any, videos: PaddedBatch, nested: Tensor, data_format: str, options: dict[str, Any]
) -> None:
    ours = verl_logits(pair, nested, videos.vision, data_format, **options)
    with torch.no_grad():
        theirs = pair.hf_logits(videos)
    scale = theirs.abs().max()
    for row, logits in enumerate(ours):
        expected = theirs[row][videos.mask[row]]
        assert logits.shape == expected.shape
        assert float((logits - expected).abs().max() / scale) < TOLERANCE


def test_gradients_of_packed_rows_are_those_of_padded_rows(pair: Any, videos: PaddedBatch) -> None:
    from verl.models.mcore.util import preprocess_thd_engine

    rows = [ids[mask] for ids, mask in zip(videos.input_ids, videos.mask, strict=True)]
    _, params, _ = preprocess_thd_engine(torch.nested.as_nested_tensor(rows, layout=torch.jagged))
    weights = torch.randn(int(videos.mask.sum()), VOCABULARY, generator=torch.Generator().manual_seed(4))
    gradients = []
    for arguments in ({}, {"packed_seq_params": params}):
        pair.megatron.zero_grad()
        logits = pair.megatron_logits(videos, **arguments)
        logits = logits[0] if arguments else logits[videos.mask]
        (logits * weights).sum().backward()
        gradients.append({name: value.grad.clone() for name, value in pair.megatron.named_parameters()})
    padded, packed = gradients
    for name, gradient in padded.items():
        assert float((gradient - packed[name]).abs().max() / gradient.abs().max()) < TOLERANCE, name


def test_packed_rows_with_positions_from_zero_differ(pair: Any, videos: PaddedBatch, nested: Tensor) -> None:
    """Control: positions of the packed row, not of each row's frames."""
    from unittest.mock import patch

    from verl_vsi.megatron import qwen2_vl

    flat = lambda input_ids, *_: torch.arange(input_ids.shape[1]).expand(3, *input_ids.shape)  # noqa: E731
    with patch.object(qwen2_vl, "mrope_positions", flat):
        ours = verl_logits(pair, nested, videos.vision, "thd")
    with torch.no_grad():
        theirs = pair.hf_logits(videos)
    assert float((ours[0] - theirs[0][videos.mask[0]]).abs().max() / theirs.abs().max()) > 1e-2


def test_packing_puts_rows_where_the_lengths_say() -> None:
    mask = torch.tensor([[True, True, False], [True, True, True]])
    pack = row_packing(mask, torch.tensor([0, 4, 8], dtype=torch.int32))
    assert pack(torch.tensor([[1, 2, 9], [3, 4, 5]])).tolist() == [[1, 2, 0, 0, 3, 4, 5, 0]]


def test_rows_that_do_not_fit_their_places_are_refused() -> None:
    mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"rows of \[3, 3\] tokens do not fit"):
        row_packing(mask, torch.tensor([0, 2, 6]))
    with pytest.raises(ValueError, match="do not fit"):
        row_packing(mask, torch.tensor([0, 6]))


def test_a_batch_without_vision_runs(pair: Any, videos: PaddedBatch) -> None:
    text = replace(videos, input_ids=videos.input_ids[2:3], mask=videos.mask[2:3], vision={})
    rows = torch.nested.as_nested_tensor([text.input_ids[0][text.mask[0]]], layout=torch.jagged)
    (ours,) = verl_logits(pair, rows, {}, "thd")
    with torch.no_grad():
        theirs = pair.hf_logits(text)[0][text.mask[0]]
    assert float((ours - theirs).abs().max() / theirs.abs().max()) < TOLERANCE
