"""A chat completion as a reply: what the model wrote, or who is to blame that there is nothing.

Text without tokens is the endpoint's failure and is asked for again; tokens without text (an end at once, a call of a
tool, reasoning alone) are the model's answer, an empty one.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping
from typing import Any

from verl_vsi.data_adapters.untrusted_text import encodable
from verl_vsi.evaluation.ask.endpoint import RequestError
from verl_vsi.evaluation.items import Reply

ENDED = ("stop", "length", "tool_calls", "function_call")
"""Reasons to stop that only a model has."""
INSTEAD = {
    "tool_calls": "a tool call",
    "function_call": "a tool call",
    "reasoning_content": "reasoning only",
    "reasoning": "reasoning only",
}
"""Fields of a message -> what came instead of text."""

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200


def read_reply(index: int, attempt: int, completion: Any) -> Reply:
    """A completion as a reply.

    Args:
        index: the question's row.
        attempt: number of the try, from 1.
        completion: JSON of any shape.

    Raises:
        RequestError: it holds no message, a message that is no text, or nothing at all.
    """
    choice = _first_choice(completion)
    message, finish = choice["message"], choice.get("finish_reason")
    finish = encodable(finish) if isinstance(finish, str) else ""
    text, refusal = _text(message.get("content")), message.get("refusal")
    prompt_tokens, new_tokens = _tokens(completion, "prompt_tokens"), _tokens(completion, "completion_tokens")
    if finish == "error":
        raise RequestError("garbage", "the endpoint gave up in the middle (finish_reason error)")
    if refusal or finish == "content_filter":
        refusal = refusal if isinstance(refusal, str) else reprlib.repr(refusal)
        status, text, error = "refused", "", encodable(refusal) if message.get("refusal") else "content filter"
    elif text.strip():
        status, error = "ok", ""
    elif new_tokens or (new_tokens is None and finish in ENDED):
        status, error = "empty", _instead(message)
    else:
        raise RequestError("empty", f"the reply is empty (finish_reason {finish or 'null'}, no token)")
    model = completion.get("model")
    return Reply(
        index,
        status,
        text,
        finish,
        prompt_tokens or 0,
        new_tokens or 0,
        attempt,
        error,
        encodable(model) if isinstance(model, str) else "",
    )


def _first_choice(completion: Any) -> Mapping[str, Any]:
    """The first choice, with a message in it."""
    choices = completion.get("choices") if isinstance(completion, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        error = completion.get("error") if isinstance(completion, dict) else None
        raise RequestError("garbage", f"not a chat completion: {_SHORT.repr(error or completion)}")
    return choice


def _text(content: Any) -> str:
    """A message's content: text, none, or a list of parts with text."""
    if content is None or isinstance(content, str):
        return encodable(content or "")
    parts = content if isinstance(content, list) else [content]
    texts: list[Any] = [part.get("text") for part in parts if isinstance(part, dict) and part.get("type") == "text"]
    if len(texts) != len(parts) or not all(isinstance(text, str) for text in texts):
        raise RequestError("garbage", f"a message that is no text: {_SHORT.repr(content)}")
    return encodable("".join(texts))


def _tokens(completion: Mapping[str, Any], name: str) -> int | None:
    """A count of the server's; None where it gave none that is a count."""
    usage = completion.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(count, bool) or not isinstance(count, int | float) or not math.isfinite(count) or count < 0:
        return None
    return int(count)


def _instead(message: Mapping[str, Any]) -> str:
    """What came instead of text."""
    return next((kind for name, kind in INSTEAD.items() if message.get(name)), "no text")
