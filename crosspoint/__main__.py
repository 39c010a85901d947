"""`python -m crosspoint` is the command `crosspoint`."""

from crosspoint.cli import main

main()
