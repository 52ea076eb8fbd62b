"""For `step.py`: verl's own interval of looking for finished rollouts, in place of the CPU's shorter one."""

from verl_vsi.patches import replay_poll

replay_poll.SECONDS = 2.0
