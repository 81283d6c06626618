"""The words that the speech filter says in place of signs, per language: ratings, arrows, checked boxes.

The sentences of the gateway itself are in `voicegw.turns.phrases`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from voicegw.turns.phrases import first_configured


@dataclass(frozen=True, slots=True)
class SpeechPhrases:
    """The words for signs in one language."""

    output: str
    """The sentence in place of the output of a program; "" for silence."""
    done: str
    """The word before a task whose box is checked."""
    to: str
    """The word for an arrow between two things; "" for a pause where the language has no such word."""
    up: str
    """The word for an arrow that points up."""
    down: str
    """The word for an arrow that points down."""
    more: str
    """The word for an arrow up beside a number."""
    less: str
    """The word for an arrow down beside a number."""
    stars: str
    """A rating of `{count}` stars."""
    rating: str
    """A rating of `{count}` stars of `{total}`."""


SPEECH_PHRASES: Mapping[str, SpeechPhrases] = {
    "en": SpeechPhrases(
        "I'll leave out the technical output here.",
        *("done", "to", "up", "down", "up", "down", "{count} stars", "{count} of {total} stars"),
    ),
    "de": SpeechPhrases(
        "Die technische Ausgabe lasse ich hier aus.",
        *(
            "erledigt",
            "nach",
            "nach oben",
            "nach unten",
            "plus",
            "minus",
            "{count} Sterne",
            "{count} von {total} Sternen",
        ),
    ),
    "es": SpeechPhrases(
        "Aquí omito los datos técnicos.",
        *(
            "hecho",
            "a",
            "arriba",
            "abajo",
            "sube",
            "baja",
            "{count} estrellas",
            "{count} de {total} estrellas",
        ),
    ),
    "fr": SpeechPhrases(
        "Je laisse les données techniques de côté ici.",
        *(
            "fait",
            "à",
            "vers le haut",
            "vers le bas",
            "en hausse de",
            "en baisse de",
            "{count} étoiles",
            "{count} étoiles sur {total}",
        ),
    ),
    "it": SpeechPhrases(
        "Qui tralascio i dati tecnici.",
        *(
            "fatto",
            "a",
            "in su",
            "in giù",
            "in aumento",
            "in calo",
            "{count} stelle",
            "{count} stelle su {total}",
        ),
    ),
    "pt": SpeechPhrases(
        "Aqui vou omitir os dados técnicos.",
        *(
            "feito",
            "para",
            "para cima",
            "para baixo",
            "sobe",
            "desce",
            "{count} estrelas",
            "{count} de {total} estrelas",
        ),
    ),
    "nl": SpeechPhrases(
        "De technische uitvoer laat ik hier weg.",
        *(
            "gedaan",
            "naar",
            "omhoog",
            "omlaag",
            "omhoog",
            "omlaag",
            "{count} sterren",
            "{count} van {total} sterren",
        ),
    ),
    "pl": SpeechPhrases(
        "Dane techniczne tutaj pominę.",
        *(
            "zrobione",
            "do",
            "w górę",
            "w dół",
            "w górę",
            "w dół",
            "gwiazdki: {count}",
            "gwiazdki: {count} na {total}",
        ),
    ),
    "sv": SpeechPhrases(
        "Den tekniska utskriften hoppar jag över här.",
        *("klart", "till", "upp", "ned", "upp", "ned", "{count} stjärnor", "{count} av {total} stjärnor"),
    ),
    "tr": SpeechPhrases(
        "Buradaki teknik çıktıyı atlıyorum.",
        *(
            "tamam",
            "",
            "yukarı",
            "aşağı",
            "yukarı",
            "aşağı",
            "{count} yıldız",
            "{total} üzerinden {count} yıldız",
        ),
    ),
    "ja": SpeechPhrases(
        "ここでは技術的な出力を省略します。",
        *("完了", "から", "上", "下", "上昇", "下降", "{count}つ星", "{total}つ星中{count}つ星"),
    ),
    "zh": SpeechPhrases(
        "这里的技术输出我就不念了。",
        *("已完成", "到", "向上", "向下", "上升", "下降", "{count}星", "{total}星中的{count}星"),
    ),
    "hi": SpeechPhrases(
        "तकनीकी जानकारी मैं यहाँ छोड़ रहा हूँ।",
        *("पूरा", "से", "ऊपर", "नीचे", "ऊपर", "नीचे", "{count} सितारे", "{total} में से {count} सितारे"),
    ),
}
"""The built-in words by language tag."""


def speech_phrases_for(language: str, output: Mapping[str, str] | None = None) -> SpeechPhrases:
    """Return the words for `language`: "pt-BR" falls back to "pt", an unknown language to English.

    `output` are configured sentences by language; each replaces the built-in one of its language.
    """
    tag = language.lower().replace("_", "-")
    primary = tag.split("-", 1)[0]
    phrases = SPEECH_PHRASES.get(tag) or SPEECH_PHRASES.get(primary) or SPEECH_PHRASES["en"]
    if not output:
        return phrases
    tags = (tag, primary, "en") if phrases is SPEECH_PHRASES["en"] else (tag, primary)
    return replace(phrases, output=first_configured(output, tags, phrases.output))
