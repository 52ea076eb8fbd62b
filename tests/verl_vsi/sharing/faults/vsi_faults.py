"""Things that go wrong, on purpose: imported by every process of a run through VERL_USE_EXTERNAL_MODULES.

`VSI_FAULTS` names a folder. A file `lose_1` there makes one rollout of step 1 fail; a file `kill_3` makes a rollout of
step 3 kill the first vLLM server. Each is taken away by the process that acts on it, so it happens once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from verl_vsi.on_import import on_import


def _taken(name: str) -> bool:
    try:
        (Path(os.environ["VSI_FAULTS"]) / name).unlink()
    except FileNotFoundError:
        return False
    return True


def _spoil(single_turn: Any) -> None:
    run = single_turn.GroupSingleTurn.run

    async def spoiled(self: Any, sampling_params: dict[str, Any], **kwargs: Any) -> Any:
        step = kwargs.get("global_steps")
        if _taken(f"lose_{step}"):
            raise ValueError("this rollout is lost on purpose")
        if _taken(f"kill_{step}"):
            import ray

            actors: Any = ray.util.list_named_actors(all_namespaces=True)
            (server,) = [actor for actor in actors if "server_0_0" in actor["name"]]
            ray.kill(ray.get_actor(**server))
        return await run(self, sampling_params, **kwargs)

    single_turn.GroupSingleTurn.run = spoiled


on_import("verl_vsi.sharing.agent_loop", _spoil)
