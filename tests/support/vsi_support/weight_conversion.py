"""The table's conversions as plain tensor functions, for one rank.

Megatron-Bridge does this itself in a run (with its own mapping classes, and across ranks). Here it serves what has no
Megatron-Bridge at hand: the tests on CPU and the GPU script; a test holds both to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from verl_vsi.megatron.weights import TABLE, Kind, WeightMapping


@dataclass(frozen=True)
class Heads:
    """Shape of the attention layers."""

    query: int
    """Number of query heads."""
    groups: int
    """Number of key and value heads."""
    size: int
    """Width of a head."""


def to_megatron(huggingface: Mapping[str, Tensor], names: Iterable[str], heads: Heads) -> dict[str, Tensor]:
    """Weights under Megatron's names.

    Args:
        huggingface: weights of a checkpoint.
        names: names of the Megatron model's parameters.
        heads: shape of the attention layers.

    Raises:
        KeyError: a parameter that the table does not have, or a weight that the checkpoint does not have.
    """
    rows = [_row(name) for name in names]
    return {row.megatron: _join(row.kind, [huggingface[name] for name in row.huggingface], heads) for row in rows}


def to_huggingface(megatron: Mapping[str, Tensor], heads: Heads) -> dict[str, Tensor]:
    """Weights under Hugging Face's names; the inverse of `to_megatron`.

    Args:
        megatron: weights under Megatron's names.
        heads: shape of the attention layers.
    """
    weights: dict[str, Tensor] = {}
    for name, tensor in megatron.items():
        row = _row(name)
        weights.update(zip(row.huggingface, _split(row.kind, tensor, heads), strict=True))
    return weights


def mapping_of(megatron_name: str) -> WeightMapping | None:
    """The row of one Megatron weight, its wildcards filled in; None for a weight that the table does not have."""
    for row in TABLE:
        rest = _match(row.megatron, megatron_name)
        if rest is not None:
            return WeightMapping(row.kind, megatron_name, tuple(_fill(name, rest) for name in row.huggingface))
    return None


def _row(name: str) -> WeightMapping:
    row = mapping_of(name)
    if row is None:
        raise KeyError(f"no row of verl_vsi.megatron.weights.TABLE names the Megatron weight {name!r}")
    return row


def _match(pattern: str, name: str) -> str | None:
    """What the wildcard of `pattern` stands for in `name` ("" without one); None where they differ."""
    if "*" not in pattern:
        return "" if pattern == name else None
    wildcard = "**" if "**" in pattern else "*"
    head, tail = pattern.split(wildcard)
    if not (name.startswith(head) and name.endswith(tail)) or len(name) <= len(head) + len(tail):
        return None
    rest = name[len(head) : len(name) - len(tail)]
    return rest if wildcard == "**" or rest.isdigit() else None


def _fill(pattern: str, rest: str) -> str:
    return pattern.replace("**", rest).replace("*", rest)


def _join(kind: Kind, parts: list[Tensor], heads: Heads) -> Tensor:
    if kind is Kind.QKV:
        rest = parts[0].shape[1:]
        grouped = [part.reshape(heads.groups, -1, heads.size, *rest) for part in parts]
        return torch.cat(grouped, dim=1).reshape(-1, *rest)
    return torch.cat(parts) if kind is Kind.GATED else parts[0]


def _split(kind: Kind, tensor: Tensor, heads: Heads) -> list[Tensor]:
    if kind is Kind.QKV:
        rest = tensor.shape[1:]
        sizes = [heads.query // heads.groups, 1, 1]
        grouped = tensor.reshape(heads.groups, sum(sizes), heads.size, *rest).split(sizes, dim=1)
        return [part.reshape(-1, *rest) for part in grouped]
    return list(tensor.chunk(2)) if kind is Kind.GATED else [tensor]
