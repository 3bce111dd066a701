"""What the subcommands of `zarrts` do and print."""
