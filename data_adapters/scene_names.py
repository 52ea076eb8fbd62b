"""Names of ScanNet, ScanNet++ and ARKitScenes scenes, wherever in an id or a path they stand and however spelled.

scene0025_01, SCENE0025_01.mp4, scans/scene0025-01/color/0.jpg     ScanNet
data/09c1414f1b/iphone/rgb.mkv, scannetpp_09c1414f1b.mp4           ScanNet++
raw/Validation/41069025/lowres_wide/0.png, arkitscenes_41069025    ARKitScenes
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote

_LOOK_ALIKES = str.maketrans("асеіорѕпԁЬոϲο‐‑‒–—−", "aceiopsndbnco------")
"""Letters of other scripts that print as those of scene names do, and dashes."""

_SCAN = re.compile(r"scene[\W_]*(\d{4})(?!\d)(?:[\W_]*(\d{2})(?!\d))?")
_NUMBERED = re.compile(r"(?<!\d)4\d{7}(?!\d)")
_HASHED = re.compile(r"(?=([0-9a-f]{10}))")
_WHOLE_HASH = re.compile(r"(?<![0-9a-z])[0-9a-f]{10}(?![0-9a-z])")


@lru_cache(maxsize=100_000)
def folded(text: str) -> str:
    """A text in lower case, with one spelling of each character, percent signs resolved, invisible characters out."""
    text = unicodedata.normalize("NFKC", unquote(text)).casefold().translate(_LOOK_ALIKES)
    if text.isascii():
        return text
    return "".join(str(unicodedata.decimal(c, c)) for c in text if unicodedata.category(c) != "Cf")


def scene_names(text: str) -> dict[str, str]:
    """Scene name -> dataset, of every name in a text that looks like one of the three datasets'.

    A ScanNet room without the scan's number (``scannet/scene0025.mp4``) is named by its room; only where the text says
    ScanNet, since others number their scenes, too.
    """
    text = folded(text)
    scans = {f"scene{room}_{scan}" if scan else f"scene{room}" for room, scan in _SCAN.findall(text)}
    names = dict.fromkeys(sorted(name for name in scans if "_" in name or "scannet" in text), "scannet")
    names |= dict.fromkeys(_NUMBERED.findall(text), "arkitscenes")
    hashes = [name for name in _WHOLE_HASH.findall(text) if name not in names and not name.isdigit()]
    return names | dict.fromkeys(hashes, "scannetpp")


def possible_names(text: str) -> set[str]:
    """`scene_names`, and all that a name of ScanNet++ could hide in (``rgb09c1414f1b``): for look-ups in a list."""
    return scene_names(text).keys() | set(_HASHED.findall(folded(text)))
