# The name of f1_q5_1600x640.py in the released code.
_base_ = "./f1_q5_1600x640.py"
