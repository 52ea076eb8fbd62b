"""The DPO baseline, on verl's own workers and over verl's SFT configuration.

TRL's DPOTrainer is well kept, but takes images, not video, and would bring a data path, checkpoints and LoRA of its
own. Here DPO differs from the SFT baseline in its loss and in having two answers a row, and in nothing else.

    torchrun --standalone --nproc_per_node=8 -m verl_vsi.dpo +recipe=dpo_2b
"""
