"""A real log through the real parts, with repeats and killed processes, compared with the fold: `python -m tests.replay LOG`."""
