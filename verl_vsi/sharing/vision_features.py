"""A vision tower's features, and their way into the prompt: the same for transformers' model and for Megatron's.

Qwen3-VL's tower gives several features a token: one for the embeddings, and one for each of the first layers of the
language model, which adds it to what that layer gave (deepstack, Meng et al. 2024, arXiv:2406.04334). They travel side
by side, as levels of one tensor, so that a cache or a split need not know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def run_tower(tower: Any, patches: Tensor, grids: Tensor) -> Tensor:
    """Features of videos or images.

    Args:
        tower: Hugging Face's vision tower.
        patches: (patches, channels), as the processor writes them; of every item, one after the other.
        grids: (items, 3), patches of each in time, height and width.

    Returns:
        (tokens, levels * hidden).
    """
    output = tower(patches.to(tower.dtype), grid_thw=grids)
    features = getattr(output, "pooler_output", output)  # transformers 5 returns an object, 4 the tensor
    return torch.cat([features, *(getattr(output, "deepstack_features", None) or ())], dim=-1)


def scatter_features(embeddings: Tensor, ids: Tensor, token: int, features: Tensor, kind: str) -> Tensor:
    """Embeddings with features in the places of a vision token.

    Args:
        embeddings: (B, S, hidden).
        ids: (B, S).
        token: id of the token that stands for these features.
        features: (tokens, hidden), in the order of the rows.
        kind: what the features are of, "video" or "image", for the message.

    Raises:
        ValueError: there are more or fewer tokens than features.
    """
    places = ids == token
    if (count := int(places.sum())) != len(features):
        raise ValueError(
            f"the prompts hold {count} {kind} tokens, but their {kind}s give {len(features)} features: frames and grid "
            "do not belong to these prompts; check the pixel limits of the data set and of the model's processor "
            "(prompts with vision are never cut)"
        )
    if not count:
        return embeddings
    return embeddings.masked_scatter(places[..., None], features.to(embeddings.device, embeddings.dtype))


def in_reading_order(ids: Tensor, features: Mapping[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Features of several kinds as their tokens follow each other.

    Args:
        ids: (B, S).
        features: (tokens, width) of each kind, in the order of the rows, by the id of the token that stands for them.

    Returns:
        Where the tokens are (B, S) bool, and the features at these places (tokens, width).
    """
    places = [(ids == token).flatten().nonzero()[:, 0] for token in features]
    mask = torch.isin(ids, torch.tensor(list(features), device=ids.device))
    return mask, torch.cat(list(features.values()))[torch.cat(places).argsort()]
