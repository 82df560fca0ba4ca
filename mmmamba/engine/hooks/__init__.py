"""Hooks of a run beside those that keep it reliable."""
