"""What all tests share."""

import os
from pathlib import Path

from hypothesis import settings

os.environ.setdefault(
    "VSI_RUN", "tests"
)  # so that what a run of ours changes is there; tests of other runs take it out
os.environ["PYTHONPATH"] = os.pathsep.join(  # processes that tests start find tests/support too
    filter(None, (str(Path(__file__).parent / "support"), os.environ.get("PYTHONPATH")))
)

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")  # no test here is about time, and machines are busy
