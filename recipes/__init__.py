"""Recipes are YAML; this file makes the folder a package, which is how Hydra finds them."""
