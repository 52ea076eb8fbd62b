"""Rollouts that prepare a question once for all of its answers.

verl decodes a video, calls the processor and sends float pixels for each of the n rollouts of a question, several
times. Here a question is prepared once; its frames go to vLLM as one shared object, a name in the frame store goes to
the trainer, and its rollouts go to one replica, whose caches then hit.
"""
