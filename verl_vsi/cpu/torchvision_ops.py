"""torchvision from the default index is a CUDA build: declare its operators where torch is a CPU build.

Its C++ operators do not load there, and its import dies on describing operators that do not exist. Its transforms,
which is all that processors use, need none of them.
"""

from __future__ import annotations

import sys

from verl_vsi.cpu.cuda_builds import is_unloadable

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_LIBRARIES: list[object] = []  # a torch Library undeclares its operators when it is collected


def register() -> None:
    """Declare torchvision's two operators, if its own cannot load."""
    if _LIBRARIES or "torchvision" in sys.modules or not is_unloadable("torchvision"):
        return
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for operator in ("nms", "qnms"):
        library.define(operator + _SCHEMA)
    _LIBRARIES.append(library)
