"""Images with maps of where people looked."""
