"""The machines once more, in plain Python and without the engine: what the engine's results are compared with."""
