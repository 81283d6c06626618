"""Rules for the text of a line: emphasis, stars, links, addresses, code spans, signs."""
