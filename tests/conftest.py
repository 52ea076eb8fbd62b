"""What all tests share."""

from hypothesis import settings

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")  # no test here is about time, and machines are busy
