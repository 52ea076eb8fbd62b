"""Packing many texts behind one video changes nothing but the time it takes."""

import numpy as np
import pytest
import torch

from verl_vsi import cpu
from verl_vsi.data_adapters.synthetic_rooms import draw, make_room
from verl_vsi.miniature.pretraining.prefix_packing import CLOSING, TinyVLM, run_packed
from verl_vsi.miniature.pretraining.tiny_model import GRID, SIDE, build_model, build_processor, build_tokenizer, patches
from verl_vsi.miniature.pretraining.training_questions import WHOLE_WORDS, tokenizer_corpus


@pytest.fixture(scope="module")
def vlm():
    cpu.prepare()
    tokenizer = build_tokenizer(tokenizer_corpus([make_room(3, i) for i in range(8)]), WHOLE_WORDS)
    return TinyVLM(build_model(tokenizer, seed=1).eval(), tokenizer)


@pytest.fixture(scope="module")
def frames():
    return np.stack([draw(3, i).frames for i in range(2)])


TEXTS = [[("How many bed(s)in the room?", "3"), ("How large?", "12.5")], [("Where is the sofa", "left")]]


def alone(vlm, frames, text, answer):
    """Summed loss and number of the answer's tokens, by transformers' own forward."""
    question = vlm.tokenizer.decode(vlm.prefix) + text + CLOSING
    ids = vlm.tokenizer(question + answer + "<|im_end|>", return_tensors="pt")["input_ids"]
    first = len(vlm.tokenizer(question)["input_ids"])
    out = vlm.model(
        input_ids=ids,
        mm_token_type_ids=(ids == vlm.model.config.video_token_id) * 2,
        pixel_values_videos=patches(frames[None]),
        video_grid_thw=torch.tensor([GRID]),
    )
    losses = torch.nn.functional.cross_entropy(out.logits[0, first - 1 : -1], ids[0, first:], reduction="none")
    return losses.sum(), len(losses)


def test_the_packed_loss_is_that_of_every_text_alone(vlm, frames):
    rows = [[vlm.token_pair(*text) for text in row] for row in TEXTS]
    with torch.no_grad():
        packed = run_packed(vlm, frames, rows).loss
        each = [alone(vlm, frames[b], *text) for b, row in enumerate(TEXTS) for text in row]
    mean = sum(loss for loss, _ in each) / sum(n for _, n in each)
    assert packed.item() == pytest.approx(float(mean), abs=1e-4)


def test_patches_are_what_the_video_processor_makes(vlm, frames):
    processor = build_processor(vlm.tokenizer).video_processor
    inputs = processor(videos=list(frames), return_tensors="pt", do_sample_frames=False)
    assert inputs["video_grid_thw"].tolist() == [list(GRID)] * 2
    torch.testing.assert_close(patches(frames), inputs["pixel_values_videos"], atol=1e-5, rtol=0)
    assert frames.shape[2] == SIDE
