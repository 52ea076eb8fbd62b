"""``torchrun --standalone --nproc_per_node=N -m verl_vsi.dpo +recipe=dpo_2b``: verl's SFT config, DPO's trainer."""

from __future__ import annotations

import hydra
import verl  # noqa: F401  (opens the plug-in before Hydra composes)
from omegaconf import DictConfig


@hydra.main(config_path="pkg://verl.trainer.config", config_name="sft_trainer_engine", version_base=None)
def main(config: DictConfig) -> None:
    """Train, as verl's `run_sft` does."""
    from verl.utils.device import auto_set_device
    from verl.utils.distributed import destroy_global_process_group, initialize_global_process_group

    from verl_vsi.dpo.dpo_trainer import DPOTrainer

    auto_set_device(config)
    initialize_global_process_group()
    DPOTrainer(config=config).fit()
    destroy_global_process_group()


if __name__ == "__main__":
    main()
