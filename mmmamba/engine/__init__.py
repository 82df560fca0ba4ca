"""What the tools run on: command line, checks before a run, the demo, the table at the end."""
