_base_ = "./rsmamba_b_500e_resisc45.py"

model = dict(backbone=dict(arch="rsmamba_l"))
