# The name of f3_q5_800x320.py in the released code.
_base_ = "./f3_q5_800x320.py"
