# The full-resolution schedule: twice as long.
_base_ = "./adamw_cosine_12e.py"
runner = dict(max_epochs=24)
evaluation = dict(interval=24)
