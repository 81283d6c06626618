"""The speech filter: takes an agent's text while it streams, and returns text that a voice can speak.

`filter` calls the rules, and `state` describes how a rule decides. The rules are in `blocks` (the start of a
line) and `inline` (the rest of it), and in the modules that these two use: `emphasis`, `fences`,
`line_start`, `links`, `signs`, `skipped`, `stars`, `tables`, and for markup besides Markdown those in
`markup`. `prose` puts blanks, commas and full stops between the pieces of speech, `characters` names sets of
characters, and `options` holds the settings. The finished speech passes `stages`: words that are spoken
differently, and written forms that become words (`spelling`).

The filter does not translate. `docs/speech.md` lists what each mark becomes.
"""
