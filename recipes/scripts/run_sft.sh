#!/usr/bin/env bash
# The SFT baseline, one node with eight GPUs:
#   VSI_ROOT=/data/vsi bash run_sft.sh sft_2b
set -euxo pipefail

: "${VSI_ROOT:?the folder that holds videos, rows and frames}"
recipe=$1
shift

torchrun --standalone --nproc_per_node="${GPUS:-8}" -m verl.trainer.sft_trainer "+recipe=$recipe" "$@"
