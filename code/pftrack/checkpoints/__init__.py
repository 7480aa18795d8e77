"""Published checkpoints: what there is, getting it safely, and looking inside."""
