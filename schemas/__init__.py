"""What is said between the desk, dispatch and billing: event and command classes, and nothing else."""
