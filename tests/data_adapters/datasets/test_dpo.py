"""Pairs as the DPO trainer takes them: one prompt, two answers, checked against the SFT examples of the same rows.

And the rule that makes a wrong answer for every right one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

pytest.importorskip("verl")

from verl_vsi.data_adapters.datasets.dpo import (
    FACTORS,
    VsiDPODataset,
    flatten_pairs,
    offered_objects,
    rejected_answer,
    wrong_number,
)
from verl_vsi.data_adapters.datasets.sft import VsiSFTDataset

Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, processor: Any, write_video: Any, write_rows: Any) -> Make:
    frames = {"sampler": "linspace", "nframes": 4, "min_pixels": 56 * 56, "max_pixels": 112 * 112}
    vsi = {"root": str(tmp_path), "seed": 1, "mode": {"name": "vanilla", "train_prompt": "Short."}, "frames": frames}
    node = {"vsi": "${vsi}", "max_length": 512, "pad_mode": "no_padding", "cache_dir": str(tmp_path / "c")}
    config = OmegaConf.create({"vsi": vsi, "data": node})
    for i, name in enumerate("ab"):
        write_video(tmp_path / f"{name}.mp4", seed=i)
    wordy = {"question": "To the left or the right?", "answer": "left", "video": "b.mp4", "kind": "word"}
    file = write_rows(tmp_path / "rows.parquet", [{"answer": "6.1"}, wordy])
    return lambda cls=VsiDPODataset: cls(str(file), processor.tokenizer, config.data, processor)


def answer(example: dict[str, Any], processor: Any) -> str:
    return processor.tokenizer.decode(example["input_ids"][example["loss_mask"].bool()])


def test_the_chosen_example_is_sfts_and_the_rejected_one_differs_in_its_answer(make: Make, processor: Any) -> None:
    for item, sft in enumerate(make(VsiSFTDataset)):
        chosen, rejected = make()[item]["pair"]
        assert torch.equal(chosen["input_ids"], sft["input_ids"])
        prompt = int((sft["loss_mask"] == 0).sum())
        assert torch.equal(chosen["input_ids"][:prompt], rejected["input_ids"][:prompt])
        assert answer(chosen, processor) != answer(rejected, processor)
        assert torch.equal(
            chosen["multi_modal_inputs"]["pixel_values_videos"], rejected["multi_modal_inputs"]["pixel_values_videos"]
        )
        assert rejected["position_ids"].shape == (4, len(rejected["input_ids"]))


def test_left_is_rejected_as_right(make: Make, processor: Any) -> None:
    chosen, rejected = make()[1]["pair"]
    assert answer(chosen, processor).startswith("left")
    assert answer(rejected, processor).startswith("right")


def test_each_answer_carries_its_own_reference(make: Make) -> None:
    dataset = make()
    assert "reference" not in dataset[0]["pair"][0]
    dataset.reference = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    assert [example["reference"].tolist() for example in dataset[1]["pair"]] == [[-3.0], [-4.0]]


def test_a_batch_keeps_pairs_together(make: Make) -> None:
    dataset = make()
    dataset.reference = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    flat = list(flatten_pairs([dataset[1], dataset[0]]))
    assert [example["reference"].item() for example in flat] == [-3.0, -4.0, -1.0, -2.0]


Row = dict[str, Any]
WHICH = "Which of these objects (sink, pillow, bed, guitar)is the closest to the bicycle?"


def row(
    truth: str, kind: str, question: str = "What?", options: tuple[str, ...] = (), index: int = 0
) -> dict[str, Any]:
    about = {"kind": kind, "question": question, "options": list(options), "index": index, "scene_id": "scene0000_00"}
    return {"reward_model": {"ground_truth": truth}, "extra_info": about}


@pytest.mark.parametrize(
    ("row", "allowed"),
    [
        (row("left", "word", "Is the bicycle to the left or the right of the shower?"), {"right"}),
        (row("right", "word"), {"left"}),
        (
            row("sink", "word", "Which of these objects (sink, pillow, bed, guitar)is the closest?"),
            {"pillow", "bed", "guitar"},
        ),
        (row("B", "choice", options=("A. chair", "B. bed", "C. sofa")), {"A", "C"}),
        (row("1", "number"), {"2", "3"}),  # a count of one can't be halved
    ],
)
def test_the_wrong_answer_is_one_of_the_other_answers(row: Row, allowed: set[str]) -> None:
    drawn = {rejected_answer(row, seed) for seed in range(60)}
    assert drawn == allowed


@given(st.decimals(min_value="0.1", max_value=500, places=1), st.integers(0, 2**32))
def test_a_wrong_number_is_off_by_the_factor_and_looks_alike(truth: Any, seed: int) -> None:
    text = wrong_number(str(truth), random.Random(seed))
    value, wrong = float(truth), float(text)
    assert wrong != value
    assert wrong > 0
    assert len(text.partition(".")[2]) == 1
    assert max(value / wrong, wrong / value) <= max(FACTORS[1] + 0.1 / min(value, wrong), (value + 0.1) / value) + 1e-6


@given(st.integers(1, 200), st.integers(0, 2**32))
def test_a_wrong_count_is_a_whole_number(truth: int, seed: int) -> None:
    text = wrong_number(str(truth), random.Random(seed))
    assert text.isdigit()
    assert int(text) not in (0, truth)


def test_one_row_and_seed_give_one_answer_and_rows_differ() -> None:
    assert rejected_answer(row("100", "number"), 3) == rejected_answer(row("100", "number"), 3)
    assert len({rejected_answer(row("100", "number", index=i)) for i in range(20)}) > 5


def test_a_question_without_another_answer_is_named() -> None:
    with pytest.raises(ValueError, match="Which\\?"):
        rejected_answer(row("sink", "word", "Which?"))


def test_objects_in_brackets_are_offered_and_remarks_are_not() -> None:
    question = "Which of these objects (sink, pillow)is the closest to the bed (in meters)?"
    assert offered_objects(question) == ["sink", "pillow"]
    assert offered_objects("What is the size of this room (in square meters)?") == []
