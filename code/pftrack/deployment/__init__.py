"""Trackers outside of PyTorch: exporting a checkpoint, and running what was exported.

``OnnxTracker`` needs numpy, Pillow (or arrays for images) and onnxruntime, and imports nothing
else; exporting (:mod:`pftrack.deployment.export`) needs all of the environment.
"""

from pftrack.deployment.onnx_tracker import OnnxTracker

__all__ = ["OnnxTracker"]
