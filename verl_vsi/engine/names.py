"""Names by which a run asks for the shared passes."""

VENDOR = "vsi_shared"
"""Value of `VERL_ENGINE_VENDOR` in the workers."""

TRAINER = "vsi_sync"
"""Value of `trainer.v1.trainer_mode`."""
