"""Where the original's guide looks for the tracker: it lives in :mod:`pftrack.models.trackers`."""

from pftrack.models.trackers.tracker import Cam3DTracker

__all__ = ["Cam3DTracker"]
