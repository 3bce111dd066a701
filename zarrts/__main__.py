"""The command, as `python -m zarrts`: for where `zarrts` is not on the PATH."""

from zarrts.cli import main

main(prog_name="zarrts")
