"""What takes minutes: real parts, killed processes, the real logs where they are. `make proof` runs it."""
