"""Citation marks: their patterns, and whether a number in brackets is a citation or a value.

A citation follows a sentence or a word, and is not its object: "It is blue [1]." A value is what its
sentence is about: "Press [1] for sales." The rules that leave citations out are in `inline.links`.
"""

from __future__ import annotations

import re

from voicegw.speech.characters import split_names
from voicegw.speech.state import FilterState

NUMBERS = r"[1-9]\d{0,2}(?:\s?[,;–-]\s?[1-9]\d{0,2})*"
KINDS = r"(?:citation|cite|source|ref|web|doc|document|file|search)"
NAMED = (
    rf"\^[^\[\]\s]{{1,40}}|\d+(?::\d+)?†[^\[\]\n]*|doc\d{{1,2}}|{KINDS}[:_ ]\s?[\d,: ]{{1,20}}"
    r"|turn\d+[a-z]+\d+(?:[,; ]+turn\d+[a-z]+\d+)*|cite_start|cite_end"
)
CITATION = re.compile(
    rf"\[oaicite:\d{{1,4}}\](?:\{{index=\d{{1,4}}\}})?|\[(?:{NUMBERS}|{NAMED})\]|\[\[[1-9]\d{{0,2}}\]\]",
    re.IGNORECASE,
)
NUMBER_CITATION = re.compile(rf"\[{NUMBERS}\]")
INDEX_PART = re.compile(r"\[oaicite:\d{1,4}\](?:\{[a-z]{0,5}=?\d{0,4})?\Z", re.IGNORECASE)
SEPARATOR = re.compile(r"[ \t]?[,;]?[ \t]?(?=\[[1-9^])")
SEPARATOR_PART = re.compile(r"[ \t]?[,;]?[ \t]?\[?\Z")
LENTICULAR = re.compile(r"【\d[\d:,]*(?:†[^】\n]*)?】")
LENTICULAR_PART = re.compile(r"【(?:\d[\d:,]*(?:†[^】\n]*)?)?\Z")
CONTENT_REFERENCE = ":contentReference"
PARENTHESISED = re.compile(rf"\((?:\[(?:{NUMBERS}|{NAMED})\](?:\([^()\s]*\))?[,; \t]*)+\)", re.IGNORECASE)
PARENTHESISED_PART = re.compile(r"\((?:\[[^\[\]\n]*(?:\](?:\([^()\s]*\)?)?[,; \t]*(?=\[|\Z))?)*\Z")
LINKED = re.compile(rf"\(\[(?:{NUMBERS}|{NAMED})\]\(", re.IGNORECASE)

OBJECT_WORDS = split_names(
    # English
    "a an the is are was were be press dial type enter choose select pick push hit tap found see key code "
    "number option choice button digit to at in on for with by from of or and than into your my plus minus "
    "equals means not "
    # German
    "ist sind war siehe nicht drücken drücke wählen wähle tippen taste nummer die der das den ein eine "
    "mit auf "
    "für von zu oder und im am kennzahl lautet "
    # French
    "est sont voir pas tapez appuyez sur composez choisissez touche numéro le la les un une de du à et "
    "ou pour "
    "avec par "
    # Spanish, Italian, Portuguese
    "es son véase pulse marque oprima presione elija tecla número opción los las uno una y o con por "
    "para en del "
    "al è sono premi prema digiti scelga tasto numero opzione il lo gli per di da e é são veja "
    "pressione digite "
    "tecle escolha opção um uma os as do na ou com "
    # Dutch, Swedish, Polish, Turkish
    "druk kies zie niet toets nummer het een met voor op van en tryck välj se knapp är och eller på naciśnij "
    "wybierz numer opcja jest i lub na w z dla numara seçenek ve veya "
    # Russian, Ukrainian
    "нажмите наберите выберите номер код это и или на в с для натисніть оберіть "
    # Arabic, Hebrew, Hindi
    "اضغط اختر رقم الرقم هو هي على في من أو و לחץ לחצו הקש מספר הוא היא על או नंबर कोड विकल्प और या"
)
"""Words that need an object behind them: a number in brackets behind one of these is a value."""
WIDE_OBJECT_ENDS = frozenset("按是选選为為在第号號択はがをのと或和及与")
"""The same for scripts without blanks: the last character before the brackets."""
OBJECT_PARTICLES = re.compile(r"(?:を|번|을|를|号|號|番|ni |'[a-zıiuü]{1,2}\b|\s?(?:दबाएँ|दबाएं|tuşu))")
"""The text after a number that is an object, in languages with the verb at the end."""
LABELLED = re.compile(r"[ \t]+\S|[^\W\d_]|'")
LABEL_AHEAD = re.compile(r"[^\S\n]+\w[^\[\n.!?]*[,;:][^\S\n]+(?:\w{1,4}[^\S\n]+)?\[[1-9]")
"""Another number in brackets that begins a part of the sentence: both are labels of choices."""
LABEL_AHEAD_PART = re.compile(r"[^\S\n]+(?:\w[^\[\n.!?]*(?:\[)?)?\Z|\Z")


def needs_more(text: str, after: int, end: int) -> bool:
    """Whether the text behind the brackets has to show whether they are labels of choices."""
    return LABEL_AHEAD_PART.match(text, after, end) is not None


def is_value(state: FilterState, text: str, at: int, after: int, end: int) -> bool:
    """Whether the number in brackets `text[at:after]` is a value, a choice or a label, and no citation."""
    if text.startswith("(", after, end):
        return False
    before = state.previous_char
    if before == "\n" or not state.line_chars:
        return LABELLED.match(text, after, end) is not None
    if not (before.isspace() or before in WIDE_OBJECT_ENDS or before in ":："):
        return False
    tail = state.output.tail.rstrip()
    if tail[-1:] in (",", ";", ":", "，", "、", "；", "：", "،") or tail[-1:] in WIDE_OBJECT_ENDS:
        return True
    if tail.split()[-1:] and tail.split()[-1].lstrip("([¿¡\"'„“«").casefold() in OBJECT_WORDS:
        return True
    return bool(OBJECT_PARTICLES.match(text, after, end) or LABEL_AHEAD.match(text, after, end))
