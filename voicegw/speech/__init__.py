"""The speech machine: agent text in, speakable text out, while it streams.

`docs/speech.md` tells what becomes of what. `speakable` drives. `blocks` (the start of a line) and `inline`
(the rest of it) decide, with `emphasis`, `links`, `tags`, `tables`, `fences`, `formula`, `margins`, `skips`.
`state` is what they share; `prose` puts blanks, commas and stops between the pieces; `words` is the
pronunciation list.
"""
