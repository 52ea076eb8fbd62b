"""What all tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from verl_vsi.config.recipes import Composer

os.environ.setdefault(
    "VSI_RUN", "tests"
)  # so that what a run of ours changes is there; tests of other runs take it out
os.environ.pop("COLUMNS", None)  # pytest's workers have it: what is printed would be as wide as theirs
os.unsetenv("COLUMNS")  # and readline, which pytest imports, sets it behind Python's back
os.environ["PYTHONPATH"] = os.pathsep.join(  # processes that tests start find tests/support too
    filter(None, (str(Path(__file__).parent / "support"), os.environ.get("PYTHONPATH")))
)

os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves trainings beside the quick tests

# a script's background job and nohup ignore them, and so would the processes that tests start
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")  # no test here is about time, and machines are busy


@pytest.fixture(scope="module")  # Hydra is global: another module may have used it in between
def compose() -> Iterator["Composer"]:
    """Composes recipes as verl's commands do: a command's words -> its config."""
    from verl_vsi.config.recipes import composer

    with composer() as ready:
        yield ready
