"""Work-arounds for other people's bugs: one file a bug, each with a test that fails once upstream has fixed it."""
