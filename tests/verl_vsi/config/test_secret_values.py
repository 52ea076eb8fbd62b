"""What Hydra itself writes of a run (`.hydra/*.yaml`) holds no secret either; a real Hydra application shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

APPLICATION = """
import hydra
from verl_vsi.preflight.callback import StartupChecks

class OnlyMasking(StartupChecks):
    on_run_start = on_job_end = lambda self, config, **kwargs: None

@hydra.main(config_path=None, config_name=None, version_base=None)
def main(config):
    assert config.logger.api_key == "q1w2,e3r4", "the run itself has it"

main()
"""


def run(folder: Path, *overrides: str) -> str:
    script = folder / "application.py"
    script.write_text(APPLICATION)
    words = [f"hydra.run.dir={folder}/out", "+hydra.callbacks.x._target_=__main__.OnlyMasking", *overrides]
    environment = {**os.environ, "MY_TOKEN": "of-the-environment"}
    done = subprocess.run([sys.executable, script, *words], env=environment, capture_output=True, text=True, check=True)
    return done.stderr


def test_no_secret_stays_in_hydras_files_and_all_else_does(tmp_path: Path) -> None:
    words = ["+logger.api_key='q1w2,e3r4'", "+logger.url=https://me:of-the-environment@host", "+logger.name=mine"]
    assert run(tmp_path, *words) == ""
    files = {file.name: file.read_text() for file in (tmp_path / "out/.hydra").iterdir()}
    assert sorted(files) == ["config.yaml", "hydra.yaml", "overrides.yaml"]
    for name, text in files.items():
        assert "e3r4" not in text, name
        assert "of-the-environment" not in text, name
    assert yaml.safe_load(files["config.yaml"])["logger"]["name"] == "mine"
    assert yaml.safe_load(files["overrides.yaml"])[-1] == "+logger.name=mine"
    assert yaml.safe_load(files["hydra.yaml"])["hydra"]["runtime"]["cwd"] == os.getcwd()
