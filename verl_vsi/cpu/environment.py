"""Environment variables of a CPU run; what the user has set stays. Child processes inherit them."""

from __future__ import annotations

import os

DEFAULTS = {
    # vLLM's sampler would compile C++ by inductor on the first generation: 22 s against 0.3 s, for no gain here.
    "TORCHDYNAMO_DISABLE": "1",
}


def register() -> None:
    """Set the defaults."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)
