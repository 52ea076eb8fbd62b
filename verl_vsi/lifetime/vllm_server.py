"""verl's vLLM server, which ends with its engine: a dead engine behind a living server makes the weight sync hang.

Offered to verl by its registry of replicas, under verl's own name (`verl_vsi.lifetime.register`). Who watches the run's
actors (`dead_actors`) then sees the server's end.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import ray
from verl.workers.rollout.vllm_rollout import vllm_async_server as upstream

_INTERVAL = 1.0
"""Seconds between two looks at the engine."""


class vLLMHttpServer(upstream.vLLMHttpServer):  # noqa: N801 (Ray's logs and tables show this name)
    """verl's server; ends where its engine has died."""

    async def launch_server(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        await super().launch_server(*args, **kwargs)
        if getattr(self, "engine", None) is not None:  # the first node of a replica has it
            self._watching = asyncio.ensure_future(self._watch_engine())

    async def _watch_engine(self) -> None:
        while not self.engine.errored:
            await asyncio.sleep(_INTERVAL)
        print(
            f"verl-vsi: vLLM's engine of replica {self.replica_rank} has died (out of memory? its words are above), "
            "so its server ends",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


class WatchedReplica(upstream.vLLMReplica):
    """verl's replica, of such servers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As verl's."""
        super().__init__(*args, **kwargs)
        self.server_class = ray.remote(vLLMHttpServer)
