"""What some tests need beside the suite's own environment."""

from importlib.util import find_spec

import pytest

needs_bridge = pytest.mark.skipif(
    find_spec("megatron") is None or find_spec("megatron.bridge") is None, reason="Megatron-Bridge is not installed"
)
"""The set of `make megatron`."""
