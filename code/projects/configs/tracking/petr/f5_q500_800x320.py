# The name of f5_q5_800x320.py in the released code.
_base_ = "./f5_q5_800x320.py"
