"""The dataset class for verl's SFT trainer: the same rows, prompts and frames as in GRPO, with the answer to learn.

data.custom_cls: {path: pkg://verl_vsi.data_adapters.datasets.sft, name: VsiSFTDataset}
"""

from __future__ import annotations

from typing import Any, cast

import torch
from datasets import Dataset
from omegaconf import DictConfig

from verl_vsi.data_adapters.datasets.data_settings import open_store
from verl_vsi.data_adapters.datasets.lengths import tokenize
from verl_vsi.data_adapters.datasets.rl import VsiDataset
from verl_vsi.data_adapters.frames import FrameInfo
from verl_vsi.data_adapters.lru import LRUCache
from verl_vsi.data_adapters.positions import FAMILIES, PositionRule, mrope_positions, with_text_positions
from verl_vsi.data_adapters.prompts import sft_answer

Inputs = dict[str, torch.Tensor]

PIXEL_BYTES = 512 << 20
"""What a process keeps of processed videos: 850 of the miniature's, 26 of 16 frames at 128*28*28."""


class VsiSFTDataset(VsiDataset):
    """Question and answer, tokenised once; pixels processed once a video while they fit.

    The prompt's tokens are those of GRPO, to the last: SFT and vsGRPO start from the same text, and its positions are
    those of the rollout (verl's own SFT dataset spaces Qwen2-VL's frames two apart, as Qwen2.5-VL's fourth second).
    The loss falls on the answer and the token that closes the turn.
    """

    limit_key = "data.max_length"

    def __init__(  # noqa: D107
        self, parquet_files: Any, tokenizer: Any, config: DictConfig, processor: Any = None, max_samples: int = -1
    ) -> None:
        if (pad_mode := config.get("pad_mode", "no_padding")) != "no_padding":
            raise ValueError(f"data.pad_mode is {pad_mode}; VsiSFTDataset's videos differ in length: set no_padding")
        self._pixels: LRUCache[str, Inputs] = LRUCache(PIXEL_BYTES, _nbytes)
        super().__init__(parquet_files, tokenizer, config, processor, max_samples)

    def _download(self, use_origin_parquet: bool = False) -> None:
        super()._download(use_origin_parquet)
        self.max_prompt_length = self.config.get("max_length", 1024)

    def _read_files_and_tokenize(self) -> None:
        super()._read_files_and_tokenize()
        self.dataframe: Dataset
        self._videos: list[list[str]] = list(self.dataframe[self.video_key])
        self._prompts, self._answers = self._tokens(self.dataframe)

    def prompt_lengths(self, dataframe: Dataset, infos: dict[str, FrameInfo]) -> list[int]:
        """Tokens of each row's prompt and answer.

        Args:
            dataframe: rows.
            infos: the index entry of every video that they name.
        """
        prompts, answers = self._tokens(dataframe)
        extra = self._video_tokens(dataframe, infos)
        return [len(p) + len(a) + e for p, a, e in zip(prompts, answers, extra, strict=True)]

    def __getitem__(self, item: int) -> dict[str, Any]:
        """One example, unpadded.

        Returns:
            input_ids (L,), loss_mask (L,), position_ids (4, L): text row, then time, height, width;
            multi_modal_inputs: pixel_values_videos (patches, channels) float32, video_grid_thw (videos, 3), and, for
            models whose positions tell seconds, second_per_grid_ts (videos,) float32.
        """
        names = self._videos[item]
        videos = self._inputs(names)
        infos = [self._info(name) for name in names]
        prompt = torch.from_numpy(self.video_tokens.expand(self._prompts[item].astype("int64"), infos))
        answer = torch.from_numpy(self._answers[item]).long()
        input_ids = torch.cat((prompt, answer))
        loss_mask = torch.cat((torch.zeros_like(prompt), torch.ones_like(answer)))
        return {
            "input_ids": input_ids,
            "position_ids": self._positions(input_ids, videos),
            "loss_mask": loss_mask,
            "multi_modal_inputs": dict(videos),
        }

    def _tokens(self, dataframe: Dataset) -> tuple[list[Any], list[Any]]:
        """Token ids of prompts and of answers with their closing token."""
        rows = [cast(dict, row) for row in dataframe]
        truths = [row["reward_model"]["ground_truth"] for row in rows]
        answers = [sft_answer(truth, self.settings.mode) + self.tokenizer.eos_token for truth in truths]
        return tokenize(self.processor, [self._render(r) for r in rows]), tokenize(self.processor, answers)

    def _inputs(self, videos: list[str]) -> Inputs:
        inputs = [self._pixels.get(v) or self._pixels.put(v, self._process(v)) for v in videos]
        return {key: torch.cat([i[key] for i in inputs]) if len(inputs) > 1 else inputs[0][key] for key in inputs[0]}

    def _info(self, video: str) -> FrameInfo:
        return open_store(self.settings).info(self.settings.video(video))

    def _process(self, video: str) -> Inputs:
        """What the processor gives for one video, but for its text."""
        frames = open_store(self.settings).frames(self.settings.video(video))
        kwargs = dict(self.mm_processor_kwargs)
        out = self.processor.video_processor(
            videos=[frames.tensor()], return_tensors="pt", do_sample_frames=False, **kwargs
        )
        inputs = {key: out[key] for key in ("pixel_values_videos", "video_grid_thw")}
        if self._rule.time == "seconds":
            inputs["second_per_grid_ts"] = torch.tensor([frames.meta.seconds_a_pair])
        return inputs

    @property
    def _rule(self) -> PositionRule:
        rule = PositionRule.of(self.processor.config)
        if rule is None:
            known = ", ".join(FAMILIES)
            raise ValueError(
                f"SFT and DPO rows are made for {known}, and the model is of type {self.processor.config.model_type}"
            )
        return rule

    def _positions(self, input_ids: torch.Tensor, inputs: Inputs) -> torch.Tensor:
        """(4, L): verl's text row over the model's own (3, L)."""
        return with_text_positions(mrope_positions(input_ids[None], self._rule, inputs)[:, 0])


def _nbytes(inputs: Inputs) -> int:
    return sum(tensor.nbytes for tensor in inputs.values())
