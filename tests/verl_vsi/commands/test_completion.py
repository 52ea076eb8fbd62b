"""Tab in a real bash, at every level; and the short word for help."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from verl_vsi.cli import COMMANDS, main

TAB = """
eval "$(_VERL_VSI_COMPLETE=bash_source verl-vsi)"
COMP_WORDS=({words}) COMP_CWORD={place}
_verl_vsi_completion verl-vsi 2>/dev/null
echo "${{COMPREPLY[*]}}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("rec", "recipes"),
        ("recipes ''", "list show diff estimate new share"),
        ("recipes es", "estimate"),
        ("recipes estimate --g", "--gpu-gb"),
        ("recipes estimate vsgrpo_2b --ro", "--rows"),
        ("eval --per", "--per-task"),
        ("eval --h", "--help"),
        ("data build rows/tr", ""),  # a file: bash's own
    ],
)
def test_tab_completes_a_word(words: str, completed: str) -> None:
    script = TAB.format(words=f"verl-vsi {words}", place=len(shlex.split(words)))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == completed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_the_short_help(name: str) -> None:
    assert "Usage: verl-vsi " + name in CliRunner().invoke(main, [name, "-h"]).output
