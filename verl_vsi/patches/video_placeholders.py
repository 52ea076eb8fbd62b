"""verl 0.9.1 sends vLLM a prompt of Qwen3-VL with one placeholder a frame pair, where vLLM wants one a video.

`qwen2_5_vl_dedup_image_tokens` makes one of every run of placeholders, since vLLM expands them itself. In Qwen3-VL's
prompts text tells each frame pair's time, so a video is as many runs: vLLM put the whole video in the place of the
first, and the other times and placeholders stayed behind it. Rollout and actor then read other prompts (their
probabilities correlated at .91 in a run of two steps with 32 frames). Here a video is one again, in both forms in which
transformers writes it: within the two markers of its placeholder from 5.10 on, without them before.
"""

from __future__ import annotations

import re
from functools import cache, wraps
from typing import Any

from verl_vsi.on_import import on_import

MODULE = "verl.workers.rollout.utils"


def install() -> None:
    """Collapse videos before verl collapses runs."""
    on_import(MODULE, _wrap)


def _wrap(utils: Any) -> None:
    upstream = utils.qwen2_5_vl_dedup_image_tokens

    @wraps(upstream)
    def qwen2_5_vl_dedup_image_tokens(prompt_ids: list[int], processor: Any) -> list[int]:
        ids = upstream(prompt_ids, processor)
        if type(processor).__name__ != "Qwen3VLProcessor":
            return ids
        start, end = processor.vision_start_token_id, processor.vision_end_token_id
        within_markers = collapsed(ids, processor.video_token_id, start, end, keep_markers=_replaces_markers())
        return without_times(ids, processor) if within_markers == ids else within_markers

    utils.qwen2_5_vl_dedup_image_tokens = qwen2_5_vl_dedup_image_tokens


@cache
def _replaces_markers() -> bool:
    """vLLM before 0.26 expands a placeholder with its markers, as transformers did before 5.10."""
    from packaging.version import Version
    from vllm import __version__

    return Version(__version__).release < (0, 26)


def collapsed(ids: list[int], video: int, start: int, end: int, *, keep_markers: bool = False) -> list[int]:
    """Ids in which each video is its two markers and a placeholder.

    As the processor of transformers from 5.10 on expands it: the markers stay around times and frame pairs, and each
    pair has markers of its own. So a video begins where a marker opens within an open one, and ends where two close.

    Args:
        ids: of a prompt, with one placeholder a frame pair.
        video: id of a placeholder.
        start: id of the marker before it.
        end: id of the marker after it.
        keep_markers: give the placeholder markers of its own, which vLLM replaces, within the video's.
    """
    placeholder = [start] * keep_markers + [start, video, end] + [end] * keep_markers
    result: list[int] = []
    place = 0
    while place < len(ids):
        until = _video_end(ids, place, start, end)
        result += placeholder if until else [ids[place]]
        place = until or place + 1
    return result


def _video_end(ids: list[int], place: int, start: int, end: int) -> int | None:
    """Where the video that begins at `place` has ended; None where none begins there."""
    if ids[place] != start:
        return None
    following = next((token for token in ids[place + 1 :] if token in (start, end)), None)
    if following != start:
        return None
    closings = (i for i in range(place, len(ids) - 1) if ids[i] == end and ids[i + 1] == end)
    last = next(closings, None)
    return None if last is None else last + 2


def without_times(ids: list[int], processor: Any) -> list[int]:
    """Ids in which each video is its two markers and a placeholder, where no markers stay around its frame pairs.

    As the processor of transformers before 5.10 expands it. A time's first token may hold the end of the text before
    it, so this goes through the text. Times rise within a video; two videos side by side are told apart by a fall.

    Args:
        ids: of a prompt, with one placeholder a frame pair.
        processor: the model's.
    """
    start, video, end = processor.vision_start_token, processor.video_token, processor.vision_end_token
    placeholder = start + video + end
    pair = re.compile(rf"<(\d+\.\d) seconds>{re.escape(start)}(?:{re.escape(video)})+{re.escape(end)}")
    text = processor.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    parts: list[str] = []
    place, before = 0, 0.0
    for match in pair.finditer(text):
        seconds, follows = float(match[1]), bool(parts) and match.start() == place
        if not (follows and seconds > before):
            parts += [text[place : match.start()], placeholder]
        place, before = match.end(), seconds
    if not parts:
        return ids
    return processor.tokenizer("".join(parts) + text[place:], add_special_tokens=False)["input_ids"]
