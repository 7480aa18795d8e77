"""Streaming inference: whole scenes through a tracker, on any number of processes, to a file."""
