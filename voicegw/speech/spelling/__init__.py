"""Spelling: written forms such as "5.50 €" become words while the speech streams (`SpeechOptions.spell`).

`speller` finds the forms in the stream and holds one back until its end is known. `forms` are their patterns
in one language, `phrases` turns a match into words, and `words` has the words that the library lacks. `cldr`
asks the packages babel and unicode-rbnf (the extra `spell`), which hold the Unicode consortium's locale data.
"""
