"""Data that several packages hand to one another."""
