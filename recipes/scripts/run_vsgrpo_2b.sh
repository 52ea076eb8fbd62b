#!/usr/bin/env bash
# vsGRPO on Qwen2-VL-2B (Table 2), one node with eight GPUs. Further overrides go through:
#   VSI_ROOT=/data/vsi bash run_vsgrpo_2b.sh mode=think ablation=[no_kl]
set -euxo pipefail

: "${VSI_ROOT:?the folder that holds videos, rows and frames}"

# Decode every video once, ahead of training (what is there already is kept).
verl-vsi frames build --recipe vsgrpo_2b "$VSI_ROOT/rows/train.parquet" "$VSI_ROOT/rows/val.parquet"

python -m verl.trainer.main_ppo +recipe=vsgrpo_2b "$@"
