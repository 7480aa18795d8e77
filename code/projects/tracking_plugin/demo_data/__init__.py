"""A generated nuScenes dataset: rendered cameras, ray-cast lidar, exact annotations."""

from __future__ import annotations

from projects.tracking_plugin.demo_data.generate import generate_dataset

# The demo network sees 320x128 pixels, one of which is 2.4 m of road at a distance of 30 m: it
# learns in fog, where nothing further away is to be seen or annotated.
DEMO_VISIBILITY = 30.0

__all__ = ["DEMO_VISIBILITY", "generate_dataset"]
