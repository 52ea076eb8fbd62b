"""Text that others wrote, before it goes into a file, a table or a terminal."""

from __future__ import annotations

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}
"""Unicode categories that move a cursor, start a sequence, reverse the reading order or break a line."""


def encodable(text: str) -> str:
    """The text without what UTF-8 has no bytes for: pairs of surrogates joined, a lone one replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def visible(text: str, keep: str = "") -> str:
    """The text with control characters written out (``\\x1b``), so that it can't steer a terminal or break a table.

    Args:
        text: any.
        keep: characters that stay, e.g. line breaks.
    """
    return "".join(
        _shown(char) if unicodedata.category(char) in _INVISIBLE and char not in keep else char
        for char in encodable(text)
    )


def _shown(char: str) -> str:
    return char.encode("unicode_escape").decode()
