"""Rules for markup besides Markdown: HTML tags, formulas, citations, tokens of models and terminal output.

The rules of Markdown itself are in `voicegw.speech`, which calls these.
"""
