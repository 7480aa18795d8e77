"""Retraining the published trackers: the reference record, the plan, the runs, the comparison."""
