"""Pictures: camera mosaic and bird's-eye view of tracks, videos, notebook figures."""
