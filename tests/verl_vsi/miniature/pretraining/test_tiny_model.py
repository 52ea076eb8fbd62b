"""The miniature's tokenizer and chat template, learned here from a few rooms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verl_vsi.data_adapters.synthetic_rooms import CATEGORIES, make_room
from verl_vsi.evaluation.protocol import load_mode
from verl_vsi.miniature.pretraining.tiny_model import SPECIAL, TAGS, build_tokenizer
from verl_vsi.miniature.pretraining.training_questions import WHOLE_WORDS, tokenizer_corpus


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(tokenizer_corpus([make_room(3, i) for i in range(8)]), WHOLE_WORDS)


@pytest.mark.parametrize("text", ["0", "7", ".", *CATEGORIES, "left", "right", "A", "D", *TAGS, *SPECIAL])
def test_this_is_one_token(tokenizer, text):
    assert len(tokenizer(text)["input_ids"]) == 1


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("113", ["1", "1", "3"]),  # digits stand alone
        ("47.9", ["4", "7", ".", "9"]),
        ("chair7", ["chair", "7"]),  # nothing joins a category
        ("<answer>bed</answer>", ["<answer>", "bed", "</answer>"]),
    ],
)
def test_pieces_stay_apart(tokenizer, text, pieces):
    assert tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"]) == pieces


@pytest.mark.parametrize("mode", ["vanilla", "think", "observe"])
def test_a_modes_prompts_are_short(tokenizer, mode):
    prompts = load_mode(mode).train_prompt, load_mode(mode).eval_prompt
    assert max(len(tokenizer(prompt)["input_ids"]) for prompt in prompts) <= 16


@given(text=st.text(max_size=60))
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_tags_survive_decoding_without_special_tokens(tokenizer):
    ids = tokenizer("<think>I see 2 bed.</think> <answer>2</answer><|im_end|>")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>I see 2 bed.</think> <answer>2</answer>"


def test_the_chat_template_has_no_system_prompt_and_one_place_for_the_video(tokenizer):
    content = [{"type": "video"}, {"type": "text", "text": "How many bed(s)in the room?"}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    assert text == (
        "<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>How many bed(s)in the room?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
