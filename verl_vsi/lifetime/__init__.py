"""How long things live: one training to a run folder, nothing that outlives it, and no wait for what has died.

driver    run_lock, run_watch (signals, Ray actors that died) -> keeper
keeper    outlives the driver, however that ends, and clears away what it left -> leftovers
vLLM      vllm_server (a server ends with its engine); its processes end with the server (`verl_vsi.vllm_plugin`)
commands  process_guard (a command whose processes end with whoever started it)
"""

from __future__ import annotations

from typing import Any

from verl_vsi.on_import import on_import


def register() -> None:
    """Offer verl a vLLM server that ends with its engine, once verl's registry of replicas is imported."""
    on_import("verl.workers.rollout.replica", _register_replica)


def _register_replica(replica: Any) -> None:
    def load() -> type:
        from verl_vsi.lifetime.vllm_server import WatchedReplica

        return WatchedReplica

    replica.RolloutReplicaRegistry.register("vllm", load)
