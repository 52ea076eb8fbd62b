#!/usr/bin/env bash
# GRPO on videos in verl's own style: every setting is an override of verl's, and no recipe is named. On a CPU, a few minutes:
#   verl-vsi data rooms rooms --split train --count 16 --seed 1
#   verl-vsi data build rooms/rows/train.parquet --scenes rooms/rooms/train.scenes.jsonl
#   VSI_ROOT=$PWD/rooms bash run_video_cpu.sh trainer.total_training_steps=2
# The model, 1 M parameters, is in the package. This is what +recipe=vsgrpo_miniature passes=stock sets; a recipe adds the
# checks before a start, the run's record and shared passes.
set -euxo pipefail

: "${VSI_ROOT:?the folder that holds videos, rows and frames}"
model=$(python -c 'from importlib.resources import files; print(files("verl_vsi") / "miniature" / "base")')

# A CPU is not verl's: this marks the run as one in which the package answers what is asked of CUDA.
export VSI_RUN=run_video_cpu VERL_PLATFORM=cpu

python -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    data.train_files="$VSI_ROOT/rows/train.parquet" \
    data.val_files="$VSI_ROOT/rows/train.parquet" \
    data.custom_cls.path=pkg://verl_vsi.data_adapters.datasets.rl \
    data.custom_cls.name=VsiDataset \
    +data.vsi.root="$VSI_ROOT" \
    +data.vsi.frames="{sampler: linspace, nframes: 4, min_pixels: 12544, max_pixels: 12544}" \
    +data.vsi.mode="{name: vanilla, train_prompt: 'Please provide the short answer with one or two words or a number.'}" \
    data.train_batch_size=4 \
    data.max_prompt_length=256 \
    data.max_response_length=32 \
    data.truncation=error \
    data.dataloader_num_workers=0 \
    actor_rollout_ref.model.path="$model" \
    actor_rollout_ref.model.use_remove_padding=False \
    actor_rollout_ref.model.enable_gradient_checkpointing=False \
    +actor_rollout_ref.model.override_config.attn_implementation=sdpa \
    actor_rollout_ref.actor.strategy=fsdp2 \
    actor_rollout_ref.actor.optim.lr=1e-4 \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl \
    actor_rollout_ref.actor.kl_loss_coef=1e-4 \
    actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean \
    actor_rollout_ref.actor.ppo_mini_batch_size=4 \
    actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=14 \
    actor_rollout_ref.actor.use_torch_compile=False \
    actor_rollout_ref.actor.fsdp_config.use_torch_compile=False \
    +actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32 \
    actor_rollout_ref.ref.strategy=fsdp2 \
    actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu=14 \
    actor_rollout_ref.ref.fsdp_config.use_torch_compile=False \
    +actor_rollout_ref.ref.fsdp_config.mixed_precision.param_dtype=fp32 \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=14 \
    actor_rollout_ref.rollout.dtype=float32 \
    actor_rollout_ref.rollout.tensor_model_parallel_size=1 \
    actor_rollout_ref.rollout.gpu_memory_utilization=0.1 \
    actor_rollout_ref.rollout.enforce_eager=True \
    actor_rollout_ref.rollout.free_cache_engine=False \
    actor_rollout_ref.rollout.enable_chunked_prefill=False \
    actor_rollout_ref.rollout.load_format=safetensors \
    actor_rollout_ref.rollout.max_model_len=288 \
    actor_rollout_ref.rollout.max_num_seqs=64 \
    actor_rollout_ref.rollout.max_num_batched_tokens=2048 \
    actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=14 \
    actor_rollout_ref.rollout.agent.num_workers=1 \
    actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=64 \
    +actor_rollout_ref.rollout.enable_sleep_mode=False \
    +actor_rollout_ref.rollout.engine_kwargs.vllm.limit_mm_per_prompt="{video: 1, image: 0}" \
    +actor_rollout_ref.rollout.engine_kwargs.vllm.kv_cache_memory_bytes=134217728 \
    reward.custom_reward_function.path=pkg://verl_vsi.rewards.vsgrpo \
    reward.custom_reward_function.name=compute_score \
    +reward.custom_reward_function.reward_kwargs="{terms: {accuracy: 1.0, format: 1.0}, numeric: min_relative}" \
    reward.num_workers=1 \
    transfer_queue.backend.SimpleStorage.num_data_storage_units=1 \
    trainer.device=cpu \
    trainer.nnodes=1 \
    trainer.n_gpus_per_node=1 \
    trainer.val_before_train=False \
    trainer.test_freq=-1 \
    trainer.save_freq=-1 \
    trainer.logger=console \
    trainer.project_name=verl-vsi \
    trainer.experiment_name=video_cpu \
    trainer.default_local_dir=outputs/video_cpu \
    trainer.rollout_data_dir=outputs/video_cpu/rollouts \
    +ray_kwargs.ray_init.num_gpus=1 \
    ray_kwargs.ray_init.num_cpus=16 \
    +ray_kwargs.ray_init.include_dashboard=False \
    "$@"
