"""Pairs for DPO from the same rows: the right answer, and a wrong one by the rule of `preferences`.

data.custom_cls: {path: pkg://verl_vsi.data_adapters.dpo_dataset, name: VsiDPODataset}
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from datasets import Dataset

from verl_vsi.data_adapters.lengths import tokenize
from verl_vsi.data_adapters.preferences import rejected_answer
from verl_vsi.data_adapters.prompts import sft_answer
from verl_vsi.data_adapters.sft_dataset import VsiSFTDataset

Example = dict[str, Any]


class VsiDPODataset(VsiSFTDataset):
    """As `VsiSFTDataset`, with two answers a row.

    `reference` holds, once the trainer has set it, the reference model's log-probability of each answer: float32
    (rows, 2), chosen and rejected.
    """

    reference: torch.Tensor | None = None

    def __getitem__(self, item: int) -> dict[str, Any]:
        """A pair: two examples of `VsiSFTDataset`, each with its reference log-probability (1,) if there is one."""
        chosen = super().__getitem__(item)
        pair = [chosen, self._with_answer(chosen, item)]
        if self.reference is not None:
            pair = [{**example, "reference": self.reference[item, i : i + 1]} for i, example in enumerate(pair)]
        return {"pair": pair}

    def _tokens(self, dataframe: Dataset) -> tuple[list[Any], list[Any]]:
        """Prompts and right answers, as the parent's; the wrong ones are kept beside."""
        prompts, chosen = super()._tokens(dataframe)
        seed = int((self.config.get("vsi") or {}).get("seed") or 0)
        wrong = [rejected_answer(cast(dict, row), seed) for row in dataframe]
        texts = [sft_answer(answer, self.settings.mode) + self.tokenizer.eos_token for answer in wrong]
        self._rejected = tokenize(self.processor, texts)
        return prompts, chosen

    def prompt_lengths(self, dataframe: Dataset, infos: Any) -> list[int]:
        """Tokens of each row's prompt and of the longer answer."""
        prompts, chosen = self._tokens(dataframe)
        extra = self._video_tokens(dataframe, infos)
        answers = zip(chosen, self._rejected, strict=True)
        return [len(p) + max(map(len, a)) + e for p, a, e in zip(prompts, answers, extra, strict=True)]

    def _with_answer(self, chosen: Example, item: int) -> Example:
        """The same prompt and video, followed by the rejected answer."""
        prompt = chosen["input_ids"][: int((chosen["loss_mask"] == 0).sum())]
        answer = torch.from_numpy(self._rejected[item]).long()
        input_ids = torch.cat((prompt, answer))
        return {
            **chosen,
            "input_ids": input_ids,
            "position_ids": self._positions(input_ids, chosen["multi_modal_inputs"]["video_grid_thw"]),
            "loss_mask": torch.cat((torch.zeros_like(prompt), torch.ones_like(answer))),
        }


def flatten_pairs(batch: Sequence[dict[str, Any]]) -> Iterator[Example]:
    """Chosen, rejected, chosen, rejected, ...: a pair stays in one micro-batch, whose size is even."""
    for row in batch:
        yield from row["pair"]
