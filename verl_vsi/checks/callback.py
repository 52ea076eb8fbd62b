"""The Hydra callback of every recipe: it sees the composed config before Ray starts, and can stop the run.

Hydra turns a callback's exceptions into warnings, so whatever goes wrong here leaves as SystemExit.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from verl_vsi import provenance
from verl_vsi.checks.logs import send_logs_to_run
from verl_vsi.checks.problem import Problem, explain
from verl_vsi.checks.schema import added_by_hand, engine_choices, unknown_keys
from verl_vsi.checks.startup import problems, remarks


class StartupChecks(Callback):
    """Set by ``recipe/_vsi.yaml`` as ``hydra.callbacks.vsi``; torchrun makes one a process, and the first speaks."""

    def __init__(self) -> None:
        """Made by Hydra as soon as the config is composed."""
        self.speaks = os.environ.get("RANK", "0") == "0"
        self.record: Path | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Check, state, record.

        Raises:
            SystemExit: something stops the run; all of it is on stderr.
        """
        try:
            found = [*problems(config), *_typos(config, kwargs.get("config_name"))]
        except Exception:
            traceback.print_exc()
            raise SystemExit("verl-vsi: a start-up check failed itself; nothing was started") from None
        if found:
            raise SystemExit(explain(found) if self.speaks else 1)
        self._begin(config)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Note how the run ended."""
        if self.record is not None:
            status = "completed" if job_return.status is JobStatus.COMPLETED else "failed"
            provenance.finish(self.record, status)

    def _begin(self, config: DictConfig) -> None:
        run, stamp = Path(config.trainer.default_local_dir).absolute(), provenance.stamp()
        send_logs_to_run(config, run, stamp)
        if self.speaks:
            for remark in remarks(config):
                print(f"verl-vsi: {remark}", file=sys.stderr, flush=True)
            self.record = run / provenance.FOLDER / f"{stamp}.json"
            provenance.write(provenance.describe(config), self.record)


def _typos(config: DictConfig, config_name: str | None) -> list[Problem]:
    """Keys that verl would ignore, against verl's own config with the same engine."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.types import RunMode

    hydra = GlobalHydra.instance().hydra
    if hydra is None or config_name is None:
        return []
    choices = engine_choices(config.hydra.runtime.choices)
    bare = hydra.compose_config(config_name, choices, RunMode.RUN, from_shell=False, with_log_configuration=False)
    keys = unknown_keys(config, bare, added_by_hand(config.hydra.overrides.task))
    return [
        Problem(f"{config.vsi.trainer} has no setting {key}", "correct the recipe: such a key changes nothing")
        for key in keys
    ]
