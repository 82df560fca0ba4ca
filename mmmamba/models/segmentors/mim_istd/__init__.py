"""MiM-ISTD (Chen et al., TGRS 2024, arXiv 2403.02148): infrared small targets by Mamba in Mamba.

`reading` turns tokens into maps, as the published code does or as one would expect; `blocks` holds
what the encoder is made of, `backbone` the encoder, `head` the decoder and the whole, `key_map` the
names of the authors' file. `configs/mim_istd` names all of it.
"""
