"""The pretraining of the base, a tiny Qwen2-VL that stands in for Qwen2-VL-Instruct: `make_base` tells it in order."""
