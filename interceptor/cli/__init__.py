"""The command line: argv to calls. One file a command group, and no logic."""
