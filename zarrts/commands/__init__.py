"""The work and the output of the subcommands of `zarrts`."""
