"""Tracking by detection without learning: what the same boxes give when rules link them."""

METHODS = ("velocity", "kalman")  # greedy by velocity; Kalman filter and generalised IoU
