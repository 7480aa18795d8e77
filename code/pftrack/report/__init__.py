"""The evaluation report: one self-contained HTML file, the same content as JSON, and a picture."""
