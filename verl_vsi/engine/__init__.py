"""Training passes that do the work of a group once: one vision pass a video, one prompt pass a group.

vsGRPO samples n answers to one question on one video. verl's engine computes the video and the prompt n times, in each
of its three passes (old, reference, update); the engine here computes them once, and gives the same numbers.
"""
