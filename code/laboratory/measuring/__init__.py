"""What benchmarks share: their record, the machine, pairs of commits, the page of numbers."""
