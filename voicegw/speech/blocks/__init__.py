"""Rules for the start of a line, and for what spans lines: headings, items, quotes, code, tables."""
