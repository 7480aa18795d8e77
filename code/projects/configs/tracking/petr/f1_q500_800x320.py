# The name of f1_q5_800x320.py in the released code.
_base_ = "./f1_q5_800x320.py"
