"""Pairs for DPO from the same rows: the right answer, and a wrong one by a rule.

data.custom_cls: {path: pkg://verl_vsi.data_adapters.datasets.dpo, name: VsiDPODataset}

"The correct answer is modified to a wrong one" (arXiv 2504.00883, section 4.1); the paper does not say how. Ours, drawn
from the seed and the question:

- a number is multiplied or divided by a factor between 1.25 and 3, written with as many decimals, and is another
  number (a count moves by at least one and stays positive);
- a lettered choice becomes another letter of its options;
- ``left`` and ``right`` change places, and a word becomes another object that the question offers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from datasets import Dataset

from verl_vsi.data_adapters.datasets.lengths import tokenize
from verl_vsi.data_adapters.datasets.sft import VsiSFTDataset
from verl_vsi.data_adapters.prompts import sft_answer

FACTORS = (1.25, 3.0)
"""How far a wrong number is off: wrong enough to score less, near enough to be plausible."""

_OPPOSITES = {"left": "right", "right": "left", "front": "back", "back": "front"}
_OFFERED = re.compile(r"\(([^()]*,[^()]*)\)")


def rejected_answer(row: Mapping[str, Any], seed: int = 0) -> str:
    """A wrong answer to the row's question; the same for the same row and seed.

    Args:
        row: as in the parquet: `reward_model.ground_truth` and `extra_info` (kind, question, options, index, scene_id).
        seed: another seed draws another wrong answer.

    Raises:
        ValueError: the question offers no other answer.
    """
    truth, about = row["reward_model"]["ground_truth"], row["extra_info"]
    draw = random.Random(f"{seed}/{about['scene_id']}/{about['index']}/{about['question']}")
    if about["kind"] == "number":
        return wrong_number(truth, draw)
    is_choice, question = about["kind"] == "choice", about["question"]
    options = [option[0] for option in about["options"]] if is_choice else offered_objects(question)
    if truth in _OPPOSITES and truth not in options:
        return _OPPOSITES[truth]
    return _other(options, truth, question, draw)


def wrong_number(truth: str, draw: random.Random) -> str:
    """Another number with as many decimals.

    Args:
        truth: the number as text.
        draw: source of the factor.

    Raises:
        ValueError: `truth` is no number.
    """
    value, decimals = float(truth), len(truth.partition(".")[2])
    step = 10.0**-decimals
    factor = draw.uniform(*FACTORS)
    wrong = value * factor if draw.random() < 0.5 else value / factor
    text = f"{wrong:.{decimals}f}"
    if float(text) == value or float(text) <= 0:  # too small a number for its decimals
        text = f"{value + step:.{decimals}f}"
    return text


def offered_objects(question: str) -> list[str]:
    """The objects that a question lists in brackets: ``(sink, pillow, bed, guitar)``."""
    listed = _OFFERED.findall(question)
    return [name.strip() for name in listed[-1].split(",")] if listed else []


def _other(options: Sequence[str], truth: str, question: str, draw: random.Random) -> str:
    others = sorted({option for option in options if option.lower() != truth.lower()})
    if not others:
        raise ValueError(f"no wrong answer can be made for '{truth}': the question offers no other: {question}")
    return draw.choice(others)


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
        """Token ids of prompts and right answers, as the parent's; those of the wrong ones go to `_rejected`."""
        prompts, chosen = super()._tokens(dataframe)
        seed = int((self.config.get("vsi") or {}).get("seed") or 0)
        wrong = [rejected_answer(cast(dict, row), seed) for row in dataframe]
        texts = [sft_answer(answer, self.settings.mode) + self.tokenizer.eos_token for answer in wrong]
        self._rejected = tokenize(self.processor, texts)
        return prompts, chosen

    def prompt_lengths(self, dataframe: Dataset, infos: Any) -> list[int]:
        """Tokens of each row's prompt and of the longer answer.

        Args:
            dataframe: rows.
            infos: the index entry of every video that they name.
        """
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
            "position_ids": self._positions(input_ids, chosen["multi_modal_inputs"]),
            "loss_mask": torch.cat((torch.zeros_like(prompt), torch.ones_like(answer))),
        }


def flatten_pairs(batch: Sequence[dict[str, Any]]) -> Iterator[Example]:
    """Chosen, rejected, chosen, rejected, ...: a pair stays in one micro-batch, whose size is even."""
    for row in batch:
        yield from row["pair"]
