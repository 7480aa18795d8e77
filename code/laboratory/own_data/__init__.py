"""Generated data in the formats of importers: what they are tried with."""
