"""The Hydra callback of every recipe: it sees the composed config before Ray starts, and can stop the run.

Hydra turns a callback's exceptions into warnings, so whatever goes wrong here leaves as SystemExit.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict

from verl_vsi import run_mark
from verl_vsi.config import provenance
from verl_vsi.config.checkpoints import RECORD_VARIABLE
from verl_vsi.config.problems import Problem, explain
from verl_vsi.config.provenance import repeat
from verl_vsi.config.secret_values import mask_hydra_files
from verl_vsi.config.surroundings import config_words
from verl_vsi.lifetime.driver import Driver
from verl_vsi.lifetime.run_lock import RunBusyError
from verl_vsi.preflight.recipe_keys import check_keys
from verl_vsi.preflight.resume import whole_checkpoint
from verl_vsi.preflight.startup import problems
from verl_vsi.preflight.statements import remarks


class StartupChecks(Callback):
    """Set by ``recipe/_vsi.yaml`` as ``hydra.callbacks.vsi``; torchrun makes one a process, and the first speaks."""

    def __init__(self) -> None:
        """Made by Hydra as soon as the config is composed."""
        self.speaks = os.environ.get("RANK", "0") == "0"
        self.driver: Driver | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check, state, record.

        Raises:
            SystemExit: something stops the run; all of it is on stderr.
        """
        if not run_mark.is_ours():  # the recipe came in by a config of the user's own, so verl was imported as it is
            run_mark.start_again_marked(str(config.hydra.runtime.choices.get("recipe") or config.hydra.job.config_name))
        try:
            stopping = [*problems(config), *check_keys(config, kwargs.get("config_name"))]
        except Exception:
            traceback.print_exc()
            raise SystemExit("verl-vsi: a start-up check failed itself; nothing was started") from None
        if stopping:
            raise SystemExit(explain(stopping) if self.speaks else 1)
        self._begin(config)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Refuse a sweep: its jobs would share one process, and with it one Ray, one platform and one set of logs.

        Raises:
            SystemExit: always, with the commands to give instead.
        """
        command = repeat(config.vsi.trainer, [*config_words(sys.argv[1:]), *config.hydra.overrides.task])
        several = Problem(
            "Hydra's multirun (-m) runs its jobs one after another in one process, where verl can't start Ray anew",
            f"give one command a job, such as: for x in A B; do {command} KEY=$x; done",
        )
        raise SystemExit(explain([several]) if self.speaks else 1)

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mask what Hydra has written just before."""
        mask_hydra_files(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how the run ended."""
        if self.driver is not None:
            completed = job_return.status is JobStatus.COMPLETED
            self.driver.end("completed" if completed else "failed", None if completed else job_return._return_value)

    def _begin(self, config: DictConfig) -> None:
        run, stamp = Path(config.trainer.default_local_dir).absolute(), provenance.stamp()
        record = run / provenance.FOLDER / f"{stamp}.json"
        tell_processes(config, {**log_variables(run, stamp), RECORD_VARIABLE: str(record)})
        if self.speaks:
            self._take(run, record)
        self._fall_back(config)
        if self.speaks:
            for remark in remarks(config):
                print(f"verl-vsi: {remark}", file=sys.stderr, flush=True)
            provenance.write(provenance.describe(config), record)

    def _take(self, run: Path, record: Path) -> None:
        self.driver = Driver(run, record)
        try:
            self.driver.begin()
        except RunBusyError as error:
            busy = Problem(str(error), "trainer.experiment_name=another-name trains beside it")
            raise SystemExit(explain([busy])) from None

    def _fall_back(self, config: DictConfig) -> None:
        """Resume from the checkpoint before the newest where that is broken."""
        if (found := whole_checkpoint(config)) is None:
            return
        checkpoint, fault = found
        with open_dict(config):
            config.trainer.resume_mode, config.trainer.resume_from_path = "resume_path", str(checkpoint.absolute())
        if self.speaks:
            print(f"verl-vsi: {fault}; resuming from {checkpoint} instead", file=sys.stderr, flush=True)


def log_variables(run: Path, stamp: str) -> dict[str, str]:
    """verl's environment variables that send a run's curves to its own folder; what the user has set stays.

    verl's file logger opens one file anew at every start, so a resumed run would erase its curve: one file a start.

    Args:
        run: the run's folder.
        stamp: of this start, for the file's name.
    """
    defaults = {
        "VERL_FILE_LOGGER_PATH": str(run / provenance.METRICS / f"{stamp}.jsonl"),
        "TENSORBOARD_DIR": str(run / "tensorboard"),
    }
    variables = {name: os.environ.get(name, value) for name, value in defaults.items()}
    Path(variables["VERL_FILE_LOGGER_PATH"]).parent.mkdir(parents=True, exist_ok=True)
    return variables


def tell_processes(config: DictConfig, variables: Mapping[str, str]) -> None:
    """Set environment variables here and, through Ray, in processes that may be on another node.

    Args:
        config: composed; its Ray runtime environment is added to, and what it sets already stays.
        variables: name -> value.
    """
    os.environ.update(variables)
    if "ray_kwargs" in config:
        with open_dict(config):
            environment = config.ray_kwargs.ray_init.runtime_env
            environment.env_vars = {**variables, **(environment.get("env_vars") or {})}
