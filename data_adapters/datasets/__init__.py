"""The dataset classes that verl loads, for GRPO, SFT and DPO over the same rows; only here verl is imported."""
