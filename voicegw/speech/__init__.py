"""The speech filter: takes an agent's text while it streams, and returns text that a voice can speak.

`filter` calls the rules, and `state` describes how a rule decides. The rules are in `blocks` (the start of a
line), `inline` (the rest of it), `markup` (all besides Markdown) and `skipped` (text that is left out).
`prose` puts blanks, commas and full stops between the pieces of speech, `characters` names sets of
characters, and `options` holds the settings. The finished speech passes `stages`: words that are spoken
differently, and written forms that become words (`spelling`).

The filter does not translate. `docs/speech.md` lists what each mark becomes.
"""
