"""Scenes and videos in, rows and frames out. Only `datasets` touches verl."""
