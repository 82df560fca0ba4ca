"""How good and how large: results of COCO, matching, scalars, summaries, counting."""
