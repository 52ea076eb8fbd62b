"""What Megatron-Bridge makes the model from. Needs Megatron-Bridge."""

from __future__ import annotations

from dataclasses import dataclass, field

from megatron.bridge.models.gpt_provider import GPTModelProvider
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

from verl_vsi.megatron.model import Qwen2VLModel
from verl_vsi.megatron.positions import VisionTokens
from verl_vsi.megatron.vision import vision_tower


@dataclass
class Qwen2VLModelProvider(GPTModelProvider):
    """Qwen2-VL's language model, vision tower and what of them is trained.

    verl sets the parallel sizes, and everything under `megatron.override_transformer_config`: that is where a run sets
    the freeze flags. (LoRA of type "lora" freezes all that is no adapter, whatever the flags say.)
    """

    position_embedding_type: str = "mrope"  # pyright: ignore[reportIncompatibleVariableOverride]
    mrope_section: list[int] | None = field(default_factory=lambda: [16, 24, 24])
    # vision features are put in before the sequence is cut
    scatter_embedding_sequence_parallel: bool = False

    vision_config: Qwen2VLVisionConfig = field(default_factory=Qwen2VLVisionConfig)
    image_token_id: int = 151655
    video_token_id: int = 151656

    freeze_language_model: bool = False
    freeze_vision_model: bool = False
    freeze_vision_projection: bool = False

    def provide(
        self, pre_process: bool | None = None, post_process: bool | None = None, vp_stage: int | None = None
    ) -> Qwen2VLModel:
        """One pipeline stage of the model."""
        language_model = super().provide(pre_process=pre_process, post_process=post_process, vp_stage=vp_stage)
        visual = vision_tower(self.vision_config, self.params_dtype) if language_model.pre_process else None
        tokens = VisionTokens(self.image_token_id, self.video_token_id, self.vision_config.spatial_merge_size)
        model = Qwen2VLModel(self, language_model, visual, tokens)
        model.freeze(self.freeze_language_model, self.freeze_vision_model, self.freeze_vision_projection)
        return model
