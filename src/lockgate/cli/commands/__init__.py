"""One module per group of commands; each translates a command line into calls and decides nothing."""
