"""The base that ships: an ordinary Hugging Face folder whose record tells the truth about it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.progress import Progress

import verl_vsi.miniature
from verl_vsi import cpu
from verl_vsi.data_adapters.files import sha256
from verl_vsi.data_adapters.prompts import user_text
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.miniature.pretraining.make_base import EXAM_SEED, RECORD, ROOMS_SEED
from verl_vsi.rewards.formats import strict

BASE = Path(verl_vsi.miniature.__path__[0]) / "base"
LARGEST = 5_000_000  # bytes of the whole folder
QUIET = Progress(disable=True)


@pytest.fixture(scope="module")
def record():
    return json.loads((BASE / RECORD).read_text())


@pytest.fixture(scope="module")
def base():
    cpu.prepare()
    from transformers import AutoModelForImageTextToText, AutoProcessor

    return AutoModelForImageTextToText.from_pretrained(BASE, dtype="float32").eval(), AutoProcessor.from_pretrained(
        BASE
    )


def test_it_is_small_enough_to_ship():
    assert sum(path.stat().st_size for path in BASE.iterdir()) <= LARGEST


def test_the_record_is_of_these_very_weights(record):
    assert record["sha256"] == {name: sha256(BASE / name) for name in record["sha256"]}
    assert set(record["sha256"]) == {"model.safetensors", "tokenizer.json"}


def test_the_record_says_how_it_was_made_and_what_it_scores(record):
    assert {"command", "seed", "schedule", "seconds", "versions"} <= set(record)
    assert (record["rooms_seed"], record["exam_seed"]) == (ROOMS_SEED, EXAM_SEED)
    assert 0 < record["scores"]["video"]["overall"] < 1


def test_transformers_loads_it_by_its_auto_classes(base):
    model, processor = base
    assert type(model).__name__ == "Qwen2VLForConditionalGeneration"
    assert type(processor).__name__ == "Qwen2VLProcessor"
    assert model.config.text_config.vocab_size == len(processor.tokenizer)


def test_the_processor_keeps_112_pixels_and_makes_32_video_tokens(base):
    import numpy as np

    model, processor = base
    content = [{"type": "video"}, {"type": "text", "text": "How many bed(s)in the room?"}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    video = np.zeros((4, 112, 112, 3), np.uint8)
    inputs = processor(text=[text], videos=[video], return_tensors="pt", do_sample_frames=False)
    assert inputs["video_grid_thw"].tolist() == [[2, 8, 8]]
    assert (inputs["input_ids"] == model.config.video_token_id).sum() == 32


def test_its_answers_have_the_right_form_and_depend_on_the_video(base):
    from verl_vsi.miniature.pretraining.exam import run_exam
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM
    from verl_vsi.miniature.pretraining.room_batch import draw_room_batch

    model, processor = base
    scores = run_exam(TinyVLM(model, processor.tokenizer), draw_room_batch(11, 64, QUIET, workers=1), 60, QUIET)
    assert scores["video"]["parse_failure"] < 0.1
    room = "room_size_estimation"
    assert scores["video"][room] > scores["shuffled"][room] + 0.1


@pytest.mark.parametrize("tag", ["think", "observe"])
def test_it_answers_in_tags_where_a_mode_asks_for_them(base, tag):
    from verl_vsi.miniature.pretraining.exam import exam_questions, generate_answers
    from verl_vsi.miniature.pretraining.prefix_packing import TinyVLM
    from verl_vsi.miniature.pretraining.room_batch import draw_room_batch

    model, processor = base
    rooms, prompt = draw_room_batch(11, 16, QUIET, workers=1), load_mode(tag).train_prompt
    questions = [replace(q, text=user_text(q.question.text, (), prompt)) for q in exam_questions(rooms, 8)]
    vlm = TinyVLM(model, processor.tokenizer)
    answers = generate_answers(vlm, rooms.frames, questions, QUIET, max_new_tokens=96)
    assert sum(strict(text, tag) for text in answers) > 0.5 * len(answers)
