"""Asking a caller aloud whether an agent may act, and what counts as a yes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

QUESTIONS = {
    "de": "{what}: Soll ich das tun?",
    "en": "{what}: Shall I go ahead?",
    "es": "{what}: ¿Sigo adelante?",
    "fr": "{what} : est-ce que je peux continuer ?",
    "it": "{what}: posso procedere?",
    "nl": "{what}: zal ik dat doen?",
    "pt": "{what}: posso continuar?",
}


def _plain(text: str) -> str:
    """The text written in one way, however it was composed."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("’", "'")


def _table(*lines: str) -> frozenset[str]:
    return frozenset(_plain(" ".join(lines)).split())


PLAIN = _table(
    "yes yeah yep yup ja jawohl jep oui ouais sí si sì sim certo tak da да так hai はい ええ",
    "是 是的 对 好 好的 예 네",
)
"""A yes in itself: a few more words may follow it."""
AGREED = PLAIN | _table(
    "ok okay sure alright absolutely definitely affirmative confirmed correct agreed",
    "klar gerne einverstanden genau d'accord volontiers vale claro dale adelante hazlo",
    "va bene prego prima akkoord goed pode",
)
PHRASES = ("go ahead", "do it", "do that", "go for it", "mach das", "tu das", "vas y", "allez y", "doe maar")
POLITE = _table(
    "please thanks thank you of course just then and well oh um uh er i think so it that",
    "bitte danke natürlich das d' s'il vous te plaît merci bien sûr por favor gracias",
    "per favore grazie obrigado obrigada graag alsjeblieft dank je",
)
"""What may stand around an agreement without changing it."""
DOUBT = _table(
    "no not nope nah don't dont never stop wait cancel but if unless only except later",
    "what why how who when which where hold hang moment instead rather maybe perhaps",
    "nein nicht kein keine keinen nie niemals halt warte aber wenn falls außer nur später",
    "was warum wie wer nö ne moment vielleicht lieber",
    "non pas jamais arrête attends mais sauf quoi pourquoi comment quand peut plutôt",
    "nunca jamás espera para cancela pero salvo qué cómo quién cuándo quizás mejor",
    "não nao nem mas se quê talvez mai aspetta ma però perché cosa come forse",
    "niet nee geen nooit wacht maar als wat waarom hoe misschien nic ale нет не но",
    "いいえ 不 不要 아니 아니요",
)
"""What makes it something else, wherever it stands."""
SHORT = 6
"""Words of an answer that is as clear as that."""


def confirmation_question(whats: Sequence[str], language: str) -> str:
    """Whether all of this may be done, in one sentence that ends with a question mark."""
    text = QUESTIONS.get(language.partition("-")[0].lower(), QUESTIONS["en"])
    return text.format(what=", ".join(whats) or "…")


def is_yes(said: str) -> bool:
    """Whether this is a clear yes. Anything else is a no: a doubt, a question, a change of mind, silence."""
    text = _plain(said)
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)
    if not words or "?" in text or not DOUBT.isdisjoint(words):
        return False
    if words[0] in PLAIN and len(words) <= SHORT:
        return True
    plain = " ".join(words)
    wants = not AGREED.isdisjoint(words) or any(phrase in plain for phrase in PHRASES)
    known = AGREED.union(POLITE, *(phrase.split() for phrase in PHRASES))
    return wants and known.issuperset(words)
