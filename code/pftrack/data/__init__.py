"""Your own recordings as nuScenes tables and info files: :class:`InfoBuilder`, and importers."""

from pftrack.data.builder import InfoBuilder as InfoBuilder
from pftrack.data.records import Box as Box
from pftrack.data.records import KeyFrame as KeyFrame
from pftrack.data.records import Recording as Recording
from pftrack.data.records import RigCamera as RigCamera
