"""The demo checkpoints' training in minutes: scenes rendered while one GPU trains on them."""
