#!/usr/bin/env bash
# vsGRPO on two nodes of eight GPUs with Ray. Videos, rows, frames and outputs lie on storage that both nodes see.
#
# On the first node:     bash multi_node.sh head
# On every other node:   bash multi_node.sh worker <address of the first node>
# Once, on the first:    VSI_ROOT=/data/vsi bash multi_node.sh submit vsgrpo_7b
# Afterwards, on each:   ray stop
set -euxo pipefail

case $1 in
head)
    # Whoever reaches the dashboard may run code as you, so it is bound to this node: submit from here, or by an SSH tunnel.
    ray start --head --port=6379 --dashboard-host=127.0.0.1
    ;;
worker)
    ray start --address="$2:6379"
    ;;
submit)
    : "${VSI_ROOT:?the folder that holds videos, rows and frames, seen by every node}"
    recipe=$2
    shift 2
    # Ray starts the job where GPUs may be absent: name the platform, so that the CPU is not taken for it.
    ray job submit --address=http://127.0.0.1:8265 \
        --runtime-env-json="{\"env_vars\": {\"VSI_ROOT\": \"$VSI_ROOT\", \"VERL_PLATFORM\": \"${VERL_PLATFORM:-nvidia}\"}}" \
        --working-dir="$PWD" \
        -- python -m verl.trainer.main_ppo "+recipe=$recipe" hardware=2x8 "$@"
    ;;
*)
    sed -n '2,8p' "$0"
    exit 2
    ;;
esac
