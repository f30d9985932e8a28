"""`python -m stream` is the command `stream`."""

from stream.ops.cli import main

main()
