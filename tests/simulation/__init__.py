"""The real engine on the memory adapters, under a clock that is a number and a loop whose every step is drawn from a seed."""
