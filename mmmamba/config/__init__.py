"""A config file, from its name to a checked Config."""
