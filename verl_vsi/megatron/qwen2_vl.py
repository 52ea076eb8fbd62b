"""Qwen2-VL as a Megatron model: Hugging Face's vision tower, megatron-core's GPT with M-RoPE.

What verl's Megatron engine hands a multimodal model (`verl.models.mcore.model_forward`): ids padded on the right, a
mask of the same shape, pixel values and grids of the whole micro-batch, and, where padding is removed, the cumulative
lengths of the packed batch. Positions are computed here, on every pipeline stage; features are put in while the batch
is padded, then it is packed, then cut for sequence parallelism.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from megatron.core.tensor_parallel import scatter_to_sequence_parallel_region
from megatron.core.transformer.module import MegatronModule
from torch import Tensor, nn

from verl_vsi.data_adapters.positions import PositionRule, mrope_positions
from verl_vsi.megatron.model_inputs import RowPacking, row_packing
from verl_vsi.sharing.vision_features import run_tower, scatter_features

if TYPE_CHECKING:
    from megatron.core.models.gpt import GPTModel
    from megatron.core.packed_seq_params import PackedSeqParams
    from megatron.core.transformer.transformer_config import TransformerConfig


class Qwen2VLModel(MegatronModule):
    """One pipeline stage of Qwen2-VL.

    Args:
        config: of the language model; `position_embedding_type` of the model is "mrope".
        language_model: this stage's part of it, made with `scatter_embedding_sequence_parallel=False`.
        visual: the vision tower on the first stage, None on the others.
        rule: how it counts positions, with the ids of its vision tokens.

    Raises:
        ValueError: the config asks for what this model does not do.
    """

    def __init__(  # noqa: D107 (the class says it)
        self, config: TransformerConfig, language_model: GPTModel, visual: nn.Module | None, rule: PositionRule
    ) -> None:
        super().__init__(config=config)
        _check_config(config)
        self.language_model = language_model
        if visual is not None:
            self.visual = visual
        self.rule = rule
        self.pre_process, self.post_process = language_model.pre_process, language_model.post_process
        self.vp_stage = getattr(language_model, "vp_stage", None)
        # Megatron's reduction of tied embeddings' gradients across pipeline stages asks for both
        self.share_embeddings_and_output_weights = language_model.share_embeddings_and_output_weights

    def shared_embedding_or_output_weight(self) -> Tensor | None:
        """The embedding that is the output layer too, where they are one."""
        return self.language_model.shared_embedding_or_output_weight()

    def set_input_tensor(self, input_tensor: Any) -> None:
        """What the previous pipeline stage sends."""
        self.language_model.set_input_tensor(input_tensor)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        packed_seq_params: PackedSeqParams | None = None,
        pixel_values: Tensor | None = None,
        image_grid_thw: Tensor | None = None,
        pixel_values_videos: Tensor | None = None,
        video_grid_thw: Tensor | None = None,
        **language_model_arguments: Any,
    ) -> Tensor:
        """Logits of a batch, or what the language model makes of `language_model_arguments`.

        Args:
            input_ids: (B, S), padded on the right.
            attention_mask: (B, S), true where a token is no padding; all of them by default. Attention is causal, so
                tokens never see the padding behind them and the mask serves packing alone.
            position_ids: not looked at; verl has none or one-dimensional ones.
            packed_seq_params: where the rows lie in the packed batch; the output is then (1, packed length, ...).
            pixel_values: (patches, features) of all images in the batch.
            image_grid_thw: (images, 3).
            pixel_values_videos: (patches, features) of all videos in the batch.
            video_grid_thw: (videos, 3).
            language_model_arguments: `labels`, `loss_mask` and what verl's fused kernels pass.

        Raises:
            ValueError: padding that is not on the right, or tokens that do not match the grids or the pixels.
        """
        mask = torch.ones_like(input_ids, dtype=torch.bool) if attention_mask is None else attention_mask.bool()
        _check_padding(mask)
        grids = {"image_grid_thw": image_grid_thw, "video_grid_thw": video_grid_thw}
        positions = mrope_positions(input_ids, self.rule, grids, mask)
        pack = None if packed_seq_params is None else row_packing(mask, _row_starts(packed_seq_params))
        if pack is not None:
            positions = pack(positions.permute(1, 2, 0)).permute(2, 0, 1).contiguous()
        embeddings = None
        if self.pre_process:
            vision = {"image": (pixel_values, image_grid_thw), "video": (pixel_values_videos, video_grid_thw)}
            embeddings = self._decoder_input(self._embed(input_ids, vision), pack)
        return self.language_model(
            input_ids=None,
            position_ids=positions,
            attention_mask=None,
            decoder_input=embeddings,
            packed_seq_params=packed_seq_params,
            **language_model_arguments,
        )

    def freeze(self, language_model: bool = False, vision_model: bool = False, vision_projection: bool = False) -> None:
        """Take parts out of training.

        Args:
            language_model: all of it, embedding and output layer too.
            vision_model: the tower without its merger.
            vision_projection: the merger, which brings patches to the language model's width.
        """
        for name, parameter in self.named_parameters():
            part = (
                language_model
                if name.startswith("language_model.")
                else vision_projection
                if name.startswith("visual.merger.")
                else vision_model
            )
            if part:
                parameter.requires_grad = False

    def _embed(self, input_ids: Tensor, vision: dict[str, tuple[Tensor | None, Tensor | None]]) -> Tensor:
        """Embeddings (B, S, hidden) of text and vision; `vision` has patches and grids by kind."""
        embeddings = self.language_model.embedding(input_ids=input_ids, position_ids=None).transpose(0, 1)
        for kind, (patches, grids) in vision.items():
            if patches is not None and grids is not None:
                features = run_tower(self.visual, patches, grids)
                embeddings = scatter_features(embeddings, input_ids, getattr(self.rule, kind), features, kind)
        return embeddings

    def _decoder_input(self, embeddings: Tensor, pack: RowPacking | None) -> Tensor:
        """(B, S, hidden) as the decoder wants it: packed, time first, this rank's part of the sequence."""
        hidden = (embeddings if pack is None else pack(embeddings)).transpose(0, 1).contiguous()
        return scatter_to_sequence_parallel_region(hidden) if self.config.sequence_parallel else hidden


def _row_starts(params: PackedSeqParams) -> Tensor:
    starts = params.cu_seqlens_q if params.cu_seqlens_q_padded is None else params.cu_seqlens_q_padded
    if starts is None:
        raise ValueError("packed_seq_params has no cu_seqlens_q: nothing says where the packed rows begin")
    return starts


def _check_padding(mask: Tensor) -> None:
    if bool((mask[:, 1:] & ~mask[:, :-1]).any()):
        raise ValueError(
            "attention_mask has padding before or between tokens; Qwen2-VL on Megatron takes padding on the right "
            "only, as verl's Megatron engine makes it"
        )


def _check_config(config: TransformerConfig) -> None:
    if config.context_parallel_size > 1:
        raise ValueError(
            f"context_parallel_size={config.context_parallel_size}: Qwen2-VL on Megatron runs without context "
            "parallelism; set it to 1 and use tensor_model_parallel_size with sequence_parallel for long sequences"
        )
    if config.apply_rope_fusion:
        raise ValueError(
            "apply_rope_fusion=True: the fused kernel counts the positions of packed rows by itself, which is wrong "
            "for vision tokens; remove it from override_transformer_config"
        )
