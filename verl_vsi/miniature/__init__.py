"""The paper's experiment in miniature, in two halves that know nothing of each other.

`pretraining` makes the base, a tiny Qwen2-VL that stands in for Qwen2-VL-Instruct: one is in the folder ``base``,
and `verl-vsi miniature base` makes it again, bit for bit.

The demonstration starts from the base and runs the commands of a user at scale: `demo` (the paper's Table 2) and
`experiments` (what the paper tells of without a table) say what is run, and `pipeline` runs it.
"""
