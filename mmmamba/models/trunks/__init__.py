"""How blocks make the maps of a backbone: a pyramid of stages, a column of blocks at one stride."""
