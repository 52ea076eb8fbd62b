from __future__ import annotations

from collections.abc import Iterator

import pytest

from verl_vsi.config.recipes import Composer, composer


@pytest.fixture(scope="session")
def compose() -> Iterator[Composer]:
    with composer() as ready:
        yield ready
