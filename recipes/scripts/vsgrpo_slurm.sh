#!/usr/bin/env bash
#SBATCH --job-name=vsgrpo
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --mem=0
#SBATCH --time=24:00:00
#
#   VSI_ROOT=/data/vsi sbatch vsgrpo_slurm.sh vsgrpo_7b backend=fsdp2
#
# Ray spans the job's nodes; the trainer runs on the first. A job that is cut resumes from its last checkpoint.
set -euxo pipefail

: "${VSI_ROOT:?the folder that holds videos, rows and frames, seen by every node}"
recipe=$1
shift

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(head -n 1 <<<"$nodes")
port=6379

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="$head" --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
sleep 20
for node in $(tail -n +2 <<<"$nodes"); do
    srun --nodes=1 --ntasks=1 --nodelist="$node" \
        ray start --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done
sleep 20

# --overlap: beside Ray's own step on the first node
RAY_ADDRESS="$head:$port" srun --overlap --nodes=1 --ntasks=1 --nodelist="$head" \
    python -m verl.trainer.main_ppo "+recipe=$recipe" hardware=2x8 \
    trainer.nnodes="$SLURM_JOB_NUM_NODES" "$@"
