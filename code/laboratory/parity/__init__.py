"""Comparison of this code with reference outputs ("golden files"), array by array."""
