"""A tiny Qwen2-VL, its pretraining, and the paper's experiment told with it."""
