from __future__ import annotations

import subprocess
import sys


def test_recipes_can_ask_without_torch_or_verl() -> None:
    code = "import sys, verl_vsi.sharing.eligibility; print(sorted({'torch', 'verl'} & {*sys.modules}))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stdout.strip() == "[]"
