"""Generated data, parity with the original, benchmarks: tried with the package, not part of it."""
