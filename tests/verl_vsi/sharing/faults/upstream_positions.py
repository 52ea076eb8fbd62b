"""A plug-in of verl's for one test: transformers counts positions by itself, as before `patches.rope_index`."""

from verl_vsi.patches import rope_index

rope_index._wrap = lambda model, family: None
