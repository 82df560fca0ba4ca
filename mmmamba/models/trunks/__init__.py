"""How blocks make the maps of a backbone: stages of a pyramid, or a column at one stride."""
