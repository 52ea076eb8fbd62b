"""The dataset class that verl loads for GRPO: the mode's prompt, frames from the store, lengths by arithmetic.

data.custom_cls: {path: pkg://verl_vsi.data_adapters.datasets.rl, name: VsiDataset}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from datasets import Dataset
from omegaconf import DictConfig
from verl.utils.dataset.rl_dataset import RLHFDataset

from verl_vsi.data_adapters.datasets.data_settings import DataSettings, check_files, open_store, usable_videos
from verl_vsi.data_adapters.datasets.lengths import VideoTokens, check_sizes, tokenize
from verl_vsi.data_adapters.frames import FrameInfo
from verl_vsi.data_adapters.prompts import user_text


class VsiDataset(RLHFDataset):
    """verl's `RLHFDataset` over rows of questions about videos.

    verl builds it in the task runner and, for `process_multi_modal_info`, only names it in agent loop workers; so what
    hands out frames is a class method that reads all it needs from the data node (`data.vsi`).
    """

    limit_key = "data.max_prompt_length"
    processor: Any
    tokenizer: Any

    def _download(self, use_origin_parquet: bool = False) -> None:
        if self.processor is None:
            raise ValueError("the model has no processor (verl warned why above): VSI rows need one that takes videos")
        self.settings = DataSettings.from_config(self.config.get("vsi"))
        self.video_tokens = VideoTokens(self.processor)
        check_files(self.original_data_files)
        super()._download(use_origin_parquet)

    def maybe_filter_out_long_prompts(self, dataframe: Dataset | None = None) -> Dataset:
        """Leave out rows whose video is broken (as `vsi.frames.on_error` says) or whose prompt is too long.

        Raises:
            ValueError: nothing is left; or, with `data.filter_overlong_prompts=False`, a prompt is too long.
        """
        assert dataframe is not None
        videos: list[list[str]] = list(dataframe[self.video_key])
        infos = usable_videos(self.settings, (v for row in videos for v in row))
        check_sizes(self.processor, infos.values(), self.mm_processor_kwargs)
        usable = [i for i, row in enumerate(videos) if all(v in infos for v in row)]
        dataframe = self._within_limit(dataframe.select(usable), infos)
        if not len(dataframe):
            raise ValueError(
                f"no row of {', '.join(map(str, self.original_data_files))} is left to train on (see above)"
            )
        return dataframe

    def _within_limit(self, dataframe: Dataset, infos: dict[str, FrameInfo]) -> Dataset:
        lengths = self.prompt_lengths(dataframe, infos)
        fitting = [i for i, n in enumerate(lengths) if n <= self.max_prompt_length]
        if len(fitting) == len(lengths):
            return dataframe
        message = (
            f"{len(lengths) - len(fitting)} of {len(lengths)} prompts are longer than {self.limit_key}="
            f"{self.max_prompt_length} (longest: {max(lengths)} tokens, of which a video takes up to "
            f"{max(i.tokens for i in infos.values())}); raise {self.limit_key}, or lower "
            "vsi.frames.nframes or vsi.frames.max_pixels"
        )
        if not self.filter_overlong_prompts:
            raise ValueError(f"{message}, or set data.filter_overlong_prompts=True to leave them out")
        print(f"left out: {message}")
        return dataframe.select(fitting)

    def prompt_lengths(self, dataframe: Dataset, infos: dict[str, FrameInfo]) -> list[int]:
        """Tokens of each row's prompt as the model reads it; no video is opened.

        Args:
            dataframe: rows.
            infos: the index entry of every video that they name.
        """
        ids = tokenize(self.processor, [self._render(cast(dict, row)) for row in dataframe])
        return [len(i) + extra for i, extra in zip(ids, self._video_tokens(dataframe, infos), strict=True)]

    def _video_tokens(self, dataframe: Dataset, infos: dict[str, FrameInfo]) -> list[int]:
        """What each row's videos add to the text with their placeholders."""
        videos: list[list[str]] = list(dataframe[self.video_key])
        return [sum(self.video_tokens.added(infos[v]) for v in row) for row in videos]

    def _render(self, row: dict) -> str:
        """The row's prompt as the chat template writes it, up to where the response starts."""
        kwargs = dict(self.apply_chat_template_kwargs) | ({"tools": self.tool_schemas} if self.tool_schemas else {})
        messages = self._build_messages(row, key=self.prompt_key)
        return self.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **kwargs)

    def _build_messages(self, example: dict, key: str) -> list[dict]:
        """The row's prompt, completed with options and the mode's prompt, in structured form."""
        extra = example.get("extra_info") or {}
        last = example[key][-1]
        last["content"] = user_text(last["content"], extra.get("options") or [], self.settings.train_prompt)
        return super()._build_messages(example, key)

    @classmethod
    def _process_multi_modal_info(  # pyright: ignore[reportIncompatibleMethodOverride]
        cls, messages: list[dict], image_patch_size: int, config: DictConfig
    ) -> tuple[None, list[tuple[Any, dict[str, Any]]] | None, None]:
        """Frames of every video that `messages` name, as verl's agent loop asks for them.

        Returns:
            (images, videos, audios): a video is a uint8 tensor (T, 3, H, W) over the store's shared pages, already at
            the size that the processor wants, and its metadata (fps, frames_indices, total_num_frames).
        """
        settings = DataSettings.from_config(config.get("vsi"))
        if image_patch_size != settings.frames.patch_size:
            raise ValueError(
                f"the model's patches are {image_patch_size} pixels wide, vsi.frames.patch_size is "
                f"{settings.frames.patch_size}; take the model by its slot (model=...), or set "
                f"++vsi.frames.patch_size={image_patch_size}"
            )
        return None, [_frames(settings, v) for v in _videos(messages)] or None, None


def _frames(settings: DataSettings, video: str) -> tuple[Any, dict[str, Any]]:
    frames = open_store(settings).frames(settings.video(video))
    return frames.tensor(), frames.meta.metadata


def _videos(messages: Sequence[dict]) -> list[str]:
    items = [item for m in messages if isinstance(m["content"], list) for item in m["content"]]
    return [item["video"] for item in items if item.get("type") == "video"]
