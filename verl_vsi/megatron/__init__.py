"""Qwen2-VL on verl's Megatron engine.

Neither Megatron-Bridge nor mbridge knows Qwen2-VL, so verl cannot train it with Megatron (verl issue 636). What is
missing is added from outside: the model (Hugging Face's vision tower in front of megatron-core's GPT), the table of
weight names, and a provider and a bridge that Megatron-Bridge finds by itself.

`model`, `positions`, `packing`, `weights` and `convert` need no more than torch and megatron-core; `provider` and
`bridge` need Megatron-Bridge and are imported by nobody but `register`.
"""

NOT_RUN_ON_A_GPU = (
    "Qwen2-VL on Megatron has been run on CPUs only (megatron-core's local layers, gloo): TransformerEngine, packed "
    "attention on a GPU, more than two ranks and the weight sync to vLLM have not been run yet"
)
"""What a run on this backend says first, until someone has run benchmarks/megatron_gpu.py."""
