"""A vision tower's features, and their way into the prompt: the same for transformers' model and for Megatron's."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def run_tower(tower: Any, patches: Tensor, grids: Tensor) -> Tensor:
    """Features of videos or images.

    Args:
        tower: Hugging Face's vision tower.
        patches: (patches, channels), as the processor writes them; of every item, one after the other.
        grids: (items, 3), patches of each in time, height and width.

    Returns:
        (tokens, hidden).
    """
    output = tower(patches.to(tower.dtype), grid_thw=grids)
    return getattr(output, "pooler_output", output)  # transformers 5 returns an object, 4 the tensor


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
