"""nuScenes tables -> info files."""
