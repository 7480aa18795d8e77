# The name of f3_q5_1600x640.py in the released code.
_base_ = "./f3_q5_1600x640.py"
