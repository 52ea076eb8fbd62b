#!/usr/bin/env bash
#SBATCH --job-name=vsgrpo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#
#   VSI_ROOT=/data/vsi VSI_OUTPUTS=/data/outputs sbatch vsgrpo_slurm.sh vsgrpo_7b backend=fsdp2
#
# Ray spans the job's nodes; the trainer runs on the first. Checkpoints go to $VSI_OUTPUTS/<name of the experiment>; a
# job that is cut resumes from the last one.
set -euo pipefail

for name in VSI_ROOT VSI_OUTPUTS; do
    if [[ ${!name:-} != /* ]]; then
        echo "$name='${!name:-}': set it to an absolute folder that every node sees, as in $name=/data/..." >&2
        exit 2
    fi
done
recipe=$1
shift

# srun takes the job's --cpus-per-task from this variable only (SLURM 22.05 and later)
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
# Where a token lies, `ray start` asks for it, and clients send it only when told to (Ray 2.60).
if [[ -e ${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token} || -n ${RAY_AUTH_TOKEN:-} ]]; then
    export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
fi

set -x
nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=$(head -n 1 <<<"$nodes")
address=$(srun --nodes=1 --ntasks=1 --nodelist="$first" hostname --ip-address | tr ' ' '\n' | grep -m 1 -F .)
port=6379

srun --nodes=1 --ntasks=1 --nodelist="$first" \
    ray start --head --node-ip-address="$address" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 20
for node in $(tail -n +2 <<<"$nodes"); do
    srun --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start --address="$address:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
sleep 20

# --overlap: beside Ray's own step on the first node
RAY_ADDRESS="$address:$port" srun --overlap --nodes=1 --ntasks=1 --nodelist="$first" \
    python -m verl.trainer.main_ppo "+recipe=$recipe" "hardware=${HARDWARE:-2x8}" \
    trainer.nnodes="$SLURM_JOB_NUM_NODES" "trainer.default_local_dir=$VSI_OUTPUTS/\${trainer.experiment_name}" "$@"
