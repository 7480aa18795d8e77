"""Training: settings, optimiser, schedule, exact resume, logs and the one loop (loop.py)."""
