"""Qwen2-VL for Megatron-Bridge: its provider, its config and its weights, both ways.

Needs Megatron-Bridge; importing this registers it there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from megatron.bridge.models.conversion.mapping_registry import MegatronMappingRegistry
from megatron.bridge.models.conversion.model_bridge import MegatronModelBridge
from megatron.bridge.models.conversion.param_mapping import (
    AutoMapping,
    GatedMLPMapping,
    MegatronParamMapping,
    QKVMapping,
    ReplicatedMapping,
)
from megatron.bridge.models.gpt_provider import GPTModelProvider
from transformers import Qwen2VLForConditionalGeneration
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLVisionConfig

from verl_vsi.data_adapters.positions import PositionRule
from verl_vsi.megatron.model_inputs import vision_tower
from verl_vsi.megatron.qwen2_vl import Qwen2VLModel
from verl_vsi.megatron.weights import TABLE, Kind, WeightMapping, missing_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig
    from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig


@dataclass
class Qwen2VLModelProvider(GPTModelProvider):
    """What Megatron-Bridge builds the model from: language model, vision tower and what of them is trained.

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
        """One pipeline stage of the model.

        Args:
            pre_process: whether it is the first, with embedding and vision tower.
            post_process: whether it is the last, with the output layer.
            vp_stage: its number among the virtual stages of a rank.
        """
        language_model = super().provide(pre_process=pre_process, post_process=post_process, vp_stage=vp_stage)
        visual = vision_tower(self.vision_config, self.params_dtype) if language_model.pre_process else None
        rule = PositionRule(self.image_token_id, self.video_token_id, self.vision_config.spatial_merge_size)
        model = Qwen2VLModel(self, language_model, visual, rule)
        model.freeze(self.freeze_language_model, self.freeze_vision_model, self.freeze_vision_projection)
        return model


@MegatronModelBridge.register_bridge(
    source=Qwen2VLForConditionalGeneration, target=Qwen2VLModel, provider=Qwen2VLModelProvider, model_type="qwen2_vl"
)
class Qwen2VLBridge(MegatronModelBridge):
    """Between Hugging Face's Qwen2-VL and `Qwen2VLModel`."""

    def provider_bridge(self, hf_pretrained: Any) -> Qwen2VLModelProvider:
        """Provider for a checkpoint."""
        config: PretrainedConfig = hf_pretrained.config
        text: Qwen2VLTextConfig = config.text_config
        settings = self.hf_config_to_provider_kwargs(text) | {
            "normalization": "RMSNorm",
            "gated_linear_unit": True,
            "add_bias_linear": False,
            "add_qkv_bias": True,
            "hidden_dropout": 0.0,
            "apply_rope_fusion": False,
            "position_embedding_type": "mrope",
            "mrope_section": _mrope_section(text),
            # the text config has a flag of its own, which is not the checkpoint's
            "share_embeddings_and_output_weights": config.tie_word_embeddings,
            "vision_config": config.vision_config,
            "image_token_id": config.image_token_id,
            "video_token_id": config.video_token_id,
        }
        return Qwen2VLModelProvider(**settings)

    def mapping_registry(self) -> MegatronMappingRegistry:
        """The table of weights in Megatron-Bridge's terms."""
        return MegatronMappingRegistry(*(_mapping(row) for row in TABLE))

    def build_conversion_tasks(self, hf_pretrained: Any, megatron_model: Any, **options: Any) -> Any:
        """Megatron-Bridge's, after a look at the checkpoint: it would leave a weight that it misses at random.

        Args:
            hf_pretrained: Megatron-Bridge's view of the checkpoint.
            megatron_model: the model that gets its weights.
            options: of Megatron-Bridge's, as they are: 0.6 has `weight_dtype`, 0.5 has none.

        Raises:
            ValueError: the checkpoint has not the weights, or not under the published names.
        """
        source = getattr(getattr(hf_pretrained, "state", None), "source", None)
        if source is not None:
            config = hf_pretrained.config
            layers, tied = config.text_config.num_hidden_layers, config.tie_word_embeddings
            if missing := missing_weights(source.get_all_keys(), layers, tied):
                raise ValueError(
                    f"the checkpoint lacks {len(missing)} weights of Qwen2-VL under their published names, first "
                    f"{missing[:3]}: write it anew with transformers' save_pretrained"
                )
        return super().build_conversion_tasks(hf_pretrained, megatron_model, **options)


def _mrope_section(text: Qwen2VLTextConfig) -> list[int]:
    """How many rotary frequencies are for time, height and width."""
    # transformers 5 has rope_parameters, 4 rope_scaling
    parameters = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    if "mrope_section" not in parameters:
        raise ValueError(f"the checkpoint's config has no mrope_section among its rope parameters: {parameters}")
    return list(parameters["mrope_section"])


def _mapping(row: WeightMapping) -> MegatronParamMapping:
    """A row of the table as Megatron-Bridge's mapping."""
    if row.kind is Kind.QKV:
        q, k, v = row.huggingface
        return QKVMapping(megatron_param=row.megatron, q=q, k=k, v=v)
    if row.kind is Kind.GATED:
        gate, up = row.huggingface
        return GatedMLPMapping(megatron_param=row.megatron, gate=gate, up=up)
    kind = ReplicatedMapping if row.kind is Kind.REPLICATED else AutoMapping
    return kind(row.megatron, row.huggingface[0])
