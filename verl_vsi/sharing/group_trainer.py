"""verl's synchronous trainer, which keeps groups whole and leaves out a pass that repeats another.

Registered as `vsi_sync` (`trainer.v1.trainer_mode`). verl asks in several places whether the mode is "sync", so the
trainer presents itself as that.

Where rollouts are missing it asks every vLLM replica whether it still answers. verl marks the questions of a dead
replica as failed, its balancer sends it more (it has the fewest in flight), and the weight sync at the step's end waits
for it for ever. So the run stops here and says what happened.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import ray
from omegaconf import DictConfig, open_dict
from tensordict import NonTensorData, NonTensorStack
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from verl_vsi.sharing.batching import count_cut_groups, whole_groups
from verl_vsi.sharing.eligibility import TRAINER, why_upstream_run
from verl_vsi.sharing.log_probs import OLD_IS_CURRENT

logger = logging.getLogger(__name__)


@register_trainer(TRAINER)
class SharedPassesTrainer(PPOTrainerSync):
    """Whole groups on ranks and in mini-batches; old log-probabilities from the update where that is exact."""

    def __init__(self, config: DictConfig) -> None:
        """As verl's."""
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"
        self.old_is_current = old_is_current(config)
        if self.old_is_current:
            with open_dict(config):
                # It would compare the rollout with an old pass that there is not; it corrects nothing (see below).
                config.algorithm.rollout_correction = None
        self._questions = 0
        super().__init__(config)
        if reason := why_upstream_run(config):
            print(f"verl-vsi: training passes are verl's own, because {reason}", flush=True)
        if config.actor_rollout_ref.actor.shuffle:
            logger.warning("actor.shuffle=True tears groups apart: shared passes save less. Set it to False")

    def _fetch_one_gen_batch(self) -> Any:
        """As verl's, with names of questions that are the same in every run, in place of random ones."""
        batch = super()._fetch_one_gen_batch()
        names = [f"{self.global_steps:07d}q{self._questions + row:07d}" for row in range(len(batch["uid"]))]
        self._questions += len(names)
        batch["uid"] = NonTensorStack.from_list([NonTensorData(name) for name in names])
        return batch

    def on_sample_end(self) -> None:
        """As verl's; where rollouts failed, only if all replicas still answer."""
        if failed := self.replay_buffer.failure_keys["train"]:
            logger.warning(
                "verl-vsi: rollouts of %d questions failed (why: above, 'Error in _run_prompt')", len(failed)
            )
            self._stop_if_lost()
        super().on_sample_end()

    def _step_once(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super()._step_once(*args, **kwargs)
        except RuntimeError as error:  # as verl's buffer raises where no rollout came back at all
            if "no materializable trajectories" in str(error):
                self._stop_if_lost(error)
            raise

    def _stop_if_lost(self, cause: BaseException | None = None) -> None:
        replicas, run = self.llm_server_manager.get_replicas(), self.config.trainer.default_local_dir
        stop_if_lost(replicas, self.tokenizer.eos_token_id, run, cause)

    def _balance_batch(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        questions = self.config.data.train_batch_size // self.parameter_sync_step
        expected = questions * self.config.actor_rollout_ref.rollout.n
        batch.reorder(in_order(batch.keys))  # the buffer has them as they were answered
        metrics["training/rollouts_missing"] = max(expected - len(batch), 0)
        batch = super()._balance_batch(batch, metrics, *args, **kwargs)
        cells = self._ranks() * self._mini_batches(len(batch))
        uids = [key.split("_")[0] for key in batch.keys]
        prompts, answers = ([tag[name] for tag in batch.tags] for name in ("prompt_len", "response_len"))
        order = whole_groups(uids, prompts, answers, cells)
        batch.reorder(order)
        metrics["training/groups_cut"] = count_cut_groups([uids[row] for row in order], cells)
        return batch

    def _ranks(self) -> int:
        return max(self.actor_rollout_wg._dispatch_info["actor"]) + 1

    def _mini_batches(self, rows: int) -> int:
        config = self.config.actor_rollout_ref
        return max(rows // (config.actor.ppo_mini_batch_size * config.rollout.n), 1)

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        return batch if self._skips_old(batch) else super()._compute_old_log_prob(batch, metrics)

    def _skips_old(self, batch: Any) -> bool:
        return self.old_is_current and self._mini_batches(len(batch)) == 1

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        if self._skips_old(batch):
            batch.extra_info[OLD_IS_CURRENT] = True
        batch = super()._update_actor(batch, metrics)
        for key in [key for key in metrics if key.startswith("actor/training/")]:
            metrics[key.removeprefix("actor/")] = metrics.pop(key)
        if "actor/entropy_loss" in metrics:
            metrics.setdefault("actor/entropy", metrics["actor/entropy_loss"])
        return batch


def in_order(keys: Sequence[str]) -> list[int]:
    """Rows by question, rollout and output.

    Args:
        keys: TransferQueue's, ``<question>_<rollout>_<output>``.
    """

    def place(row: int) -> tuple[str, int, int]:
        question, rollout, output = keys[row].rsplit("_", 2)
        return question, int(rollout), int(output)

    return sorted(range(len(keys)), key=place)


def old_is_current(config: DictConfig) -> bool:
    """Whether every update is the first of its policy, and nothing else asks for old log-probabilities."""
    actor, correction = config.actor_rollout_ref.actor, config.algorithm.rollout_correction or {}
    no_correction = not any(correction.get(key) for key in ("bypass_mode", "rollout_is", "rollout_rs"))
    on_policy_update = actor.ppo_epochs == 1 and actor.ppo_mini_batch_size >= config.data.train_batch_size
    one_update = config.trainer.v1.get("sync", {}).get("parameter_sync_step", 1) == 1
    kl_in_loss = not config.algorithm.use_kl_in_reward and config.trainer.critic_warmup == 0
    return no_correction and on_policy_update and one_update and kl_in_loss and why_upstream_run(config) is None


class ReplicaLostError(RuntimeError):
    """A vLLM replica died while a step was sampled."""


_ANSWER_SECONDS = 120.0
"""In which a replica has to generate a token."""


def stop_if_lost(replicas: Sequence[Any], token: int, run: str, cause: BaseException | None = None) -> None:
    """Have each replica generate one token.

    Args:
        replicas: verl's.
        token: any token id.
        run: folder of the checkpoints, for the message.
        cause: what went wrong before, if anything raised.

    Raises:
        ReplicaLostError: one did not; names it, what it died of, and the way on.
    """
    answers = {
        f"replica {replica.replica_rank} at {replica.server_address}": replica.server_handle.generate.remote(
            [token], {"max_tokens": 1}, uuid4().hex
        )
        for replica in replicas
    }
    dead = {name: error for name, answer in answers.items() if (error := _error(answer)) is not None}
    if dead:
        causes = "; ".join(f"{name}: {error}" for name, error in dead.items())
        raise ReplicaLostError(
            f"{len(dead)} of {len(answers)} vLLM replicas no longer answer: {causes}. This step's update was not made. "
            "Look for the cause above and in the system's log (out of memory?); the same command goes on from the last "
            f"checkpoint in {run}"
        ) from cause


def _error(answer: Any) -> str | None:
    try:
        ray.get(answer, timeout=_ANSWER_SECONDS)
    except Exception as error:  # of Ray, of vLLM, of the network: whatever it is, it does not answer
        last = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__} {last[-1][:200]}"
    return None
