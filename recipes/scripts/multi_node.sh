#!/usr/bin/env bash
# vsGRPO on two nodes of eight GPUs with Ray. Videos, rows, frames and outputs lie on storage that both nodes see.
#
# On the first node:     bash multi_node.sh head
# On every other node:   bash multi_node.sh worker <address of the first node>
# Once, on the first:    VSI_ROOT=/data/vsi VSI_OUTPUTS=/data/outputs bash multi_node.sh submit vsgrpo_7b
# Afterwards, on each:   ray stop
#
# Checkpoints go to $VSI_OUTPUTS/<name of the experiment>; the same `submit` again resumes from the last one.
set -euo pipefail

# Where a token lies, `ray start` asks for it, and clients send it only when told to (Ray 2.60).
if [[ -e ${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token} || -n ${RAY_AUTH_TOKEN:-} ]]; then
    export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
fi

# absolute NAME: a relative folder would lie in Ray's temporary one, on another node, and be lost
absolute() {
    if [[ ${!1:-} != /* ]]; then
        echo "$1='${!1:-}': set it to an absolute folder that every node sees, as in $1=/data/..." >&2
        exit 2
    fi
}

case ${1:-} in
head)
    set -x
    # Whoever reaches the dashboard may run code as you, so it is bound to this node: submit from here, or by an SSH tunnel.
    ray start --head --port=6379 --dashboard-host=127.0.0.1 "${@:2}"
    ;;
worker)
    set -x
    [[ $2 == *:* ]] && head=$2 || head=$2:6379
    ray start --address="$head" "${@:3}"
    ;;
submit)
    absolute VSI_ROOT
    absolute VSI_OUTPUTS
    recipe=$2
    shift 2
    # Ray starts the job where GPUs may be absent: name the platform, so that the CPU is not taken for it.
    variables="\"VSI_ROOT\": \"$VSI_ROOT\", \"VERL_PLATFORM\": \"${VERL_PLATFORM:-nvidia}\""
    if [[ -n ${VSI_RECIPES:-} ]]; then
        absolute VSI_RECIPES
        variables+=", \"VSI_RECIPES\": \"$VSI_RECIPES\""
    fi
    set -x
    ray job submit --address="${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" \
        --runtime-env-json="{\"env_vars\": {$variables}}" \
        -- python -m verl.trainer.main_ppo "+recipe=$recipe" "hardware=${HARDWARE:-2x8}" \
        "trainer.default_local_dir=$VSI_OUTPUTS/\${trainer.experiment_name}" "$@"
    ;;
*)
    sed -n '2,9p' "$0"
    exit 2
    ;;
esac
