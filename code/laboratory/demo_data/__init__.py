"""A generated nuScenes dataset: rendered cameras, ray-cast lidar, exact annotations."""

from __future__ import annotations

from laboratory.demo_data.generate import generate_dataset

__all__ = ["generate_dataset"]
