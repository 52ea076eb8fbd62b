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
from verl_vsi.data_adapters.prompts import sft_answer

Inputs = dict[str, torch.Tensor]

PIXEL_BYTES = 512 << 20
"""What a process keeps of processed videos: 850 of the miniature's, 26 of 16 frames at 128*28*28."""


class VsiSFTDataset(VsiDataset):
    """Question and answer, tokenised once; pixels processed once a video while they fit.

    The prompt's tokens are those of GRPO, to the last: SFT and vsGRPO start from the same text. Positions come from the
    processor, as in verl's rollout (verl's own SFT dataset spaces Qwen2-VL's frames two apart, as Qwen2.5-VL wants).
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
            multi_modal_inputs: pixel_values_videos (patches, 1176) float32, video_grid_thw (videos, 3).
        """
        videos = self._inputs(self._videos[item])
        prompt = self._expand(torch.from_numpy(self._prompts[item]).long(), videos["video_grid_thw"])
        answer = torch.from_numpy(self._answers[item]).long()
        input_ids = torch.cat((prompt, answer))
        loss_mask = torch.cat((torch.zeros_like(prompt), torch.ones_like(answer)))
        return {
            "input_ids": input_ids,
            "position_ids": self._positions(input_ids, videos["video_grid_thw"]),
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

    def _process(self, video: str) -> Inputs:
        """pixel_values_videos (patches, 1176) float32 and video_grid_thw (1, 3) of one video."""
        frames = open_store(self.settings).frames(self.settings.video(video)).tensor()
        kwargs = dict(self.mm_processor_kwargs)
        out = self.processor.video_processor(videos=[frames], return_tensors="pt", do_sample_frames=False, **kwargs)
        return {key: out[key] for key in ("pixel_values_videos", "video_grid_thw")}

    def _expand(self, ids: torch.Tensor, grids: torch.Tensor) -> torch.Tensor:
        """(L,) ids, each video's placeholder repeated as often as its row of `grids` (videos, 3) has tokens."""
        merge = self.processor.video_processor.merge_size**2
        repeats = torch.ones_like(ids)
        repeats[ids == self.processor.video_token_id] = grids.prod(dim=1) // merge
        return ids.repeat_interleave(repeats)

    def _positions(self, input_ids: torch.Tensor, grids: torch.Tensor) -> torch.Tensor:
        """(4, L): verl's text row over the model's own (3, L)."""
        ids = input_ids[None]
        kinds = (ids == self.processor.video_token_id).int() * 2
        vision, _ = self.processor.get_rope_index(
            input_ids=ids, attention_mask=torch.ones_like(ids), video_grid_thw=grids, mm_token_type_ids=kinds
        )
        return torch.cat((torch.arange(ids.shape[1])[None], vision[:, 0].long()))


def _nbytes(inputs: Inputs) -> int:
    return sum(tensor.nbytes for tensor in inputs.values())
