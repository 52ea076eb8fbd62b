"""The text that the model reads: the question, its options if they are lettered, and the mode's prompt.

One rule for training, SFT and evaluation. The paper does not say where the mode's prompt stands; VSI-Bench puts its
own after the question, and so does this.
"""

from __future__ import annotations

from collections.abc import Sequence

from verl_vsi.rewards.formats import MODE_TAGS

VIDEO = "<video>"
"""Placeholder in a row's prompt; the chat template puts the video's tokens there."""

MODES = tuple(MODE_TAGS)


def user_text(question: str, options: Sequence[str], mode_prompt: str) -> str:
    """Question, then the lettered options, then the mode's prompt, on lines of their own.

    Args:
        question: as the row has it, with or without the `VIDEO` placeholder in front.
        options: ``A. chair``, ...; empty where the question is no lettered choice.
        mode_prompt: of vanilla, think or observe; empty for none.
    """
    lettered = ["Options:", *options] if options else []
    return "\n".join([question, *lettered, *([mode_prompt] if mode_prompt else [])])


def sft_answer(answer: str, mode: str) -> str:
    """What SFT teaches as the response.

    The paper trains SFT on VSI-100k directly and does not say how for think and observe; ours: the answer alone for
    vanilla, and in ``<answer>`` tags, without an invented thought, for the modes that ask for tags.

    Args:
        answer: the truth as text.
        mode: vanilla, think or observe.

    Raises:
        ValueError: the mode is unknown.
    """
    check_mode(mode)
    return answer if mode == "vanilla" else f"<answer>{answer}</answer>"


def check_mode(mode: str) -> None:
    """Refuse a mode that the paper does not have.

    Raises:
        ValueError: it is none of `MODES`.
    """
    if mode not in MODES:
        raise ValueError(f"vsi.mode.name: '{mode}' is unknown; choose mode={'|'.join(MODES)}")
