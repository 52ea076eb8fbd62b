"""How vLLM reads a prompt: its own processor, its own positions, over a model's folder and without an engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor


class VllmReader:
    """vLLM's processor of one model.

    Args:
        folder: of the model.
        dtype: of the weights; vLLM rounds what a processor gives to it.
        cached: whether processed videos are remembered, as they are in a server.
    """

    def __init__(self, folder: Path, dtype: str = "bfloat16", *, cached: bool = False) -> None:
        from vllm.config import ModelConfig
        from vllm.model_executor.model_loader import get_model_cls
        from vllm.multimodal import MULTIMODAL_REGISTRY
        from vllm.multimodal.cache import MultiModalProcessorOnlyCache

        # the dummy videos of profiling are not made here
        config = ModelConfig(model=str(folder), dtype=dtype, limit_mm_per_prompt={"video": 8, "image": 8})  # pyright: ignore[reportArgumentType]
        self.config: Any = config.hf_config
        cache: Any = MultiModalProcessorOnlyCache(config) if cached else None
        self._processor = MULTIMODAL_REGISTRY.create_processor(config, cache=cache)
        self._model: Any = get_model_cls(config)

    def read(self, ids: Sequence[int], videos: Sequence[Any] = (), images: Sequence[Any] = ()) -> tuple[list[int], Any]:
        """The prompt as vLLM's model gets it.

        Args:
            ids: with one placeholder a video or image, as verl sends them.
            videos: frames (T, 3, H, W) uint8, with their metadata.
            images: of Pillow.

        Returns:
            Ids with placeholders expanded, and the features behind them.
        """
        from vllm.multimodal.inputs import MultiModalFeatureSpec

        data = {"video": list(videos)} if videos else {}
        data |= {"image": list(images)} if images else {}
        if not data:
            return list(ids), []
        out = self._processor(list(ids), self._processor.info.parse_mm_data(data))  # pyright: ignore[reportArgumentType]
        features = [
            MultiModalFeatureSpec(data=item, modality=modality, identifier="", mm_position=place)
            for modality, places in out["mm_placeholders"].items()
            for item, place in zip(out["mm_kwargs"][modality], places, strict=True)
        ]
        return out["prompt_token_ids"], features

    def positions(self, ids: list[int], features: list[Any]) -> Tensor:
        """(3, L) of the whole prompt."""
        model = object.__new__(self._model)
        object.__setattr__(model, "config", self.config)  # all that the method looks at; a module wants more
        return self._model.get_mrope_input_positions(model, ids, features)[0]
