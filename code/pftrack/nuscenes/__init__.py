"""nuScenes: facts, tables, splits and the format of results."""
