"""Scenes and videos in, rows and frames out. Only `dataset` touches verl."""
