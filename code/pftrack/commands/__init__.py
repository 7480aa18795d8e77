"""Command lines: one module each, what they share, the demo and the notebooks' helpers."""
