"""The question whether an agent may act, and what counts as a yes. It sends nothing and keeps no state."""

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


def _normalize(text: str) -> str:
    """Return the text in lower case and composed form, with plain apostrophes."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).replace("’", "'")


def _word_set(*lines: str) -> frozenset[str]:
    return frozenset(_normalize(" ".join(lines)).split())


YES_WORDS = _word_set(
    "yes yeah yep yup ja jawohl jep oui ouais sí si sì sim certo tak da да так hai はい ええ",
    "是 是的 对 好 好的 예 네",
)
"""Words that are a yes by themselves: a few other words may follow."""
AGREEMENT_WORDS = YES_WORDS | _word_set(
    "ok okay sure alright absolutely definitely affirmative confirmed correct agreed",
    "klar gerne einverstanden genau d'accord volontiers vale claro dale adelante hazlo",
    "va bene prego prima akkoord goed pode",
)
AGREEMENT_PHRASES = (
    "go ahead",
    "do it",
    "do that",
    "go for it",
    "mach das",
    "tu das",
    "vas y",
    "allez y",
    "doe maar",
)
NEUTRAL_WORDS = _word_set(
    "please thanks thank you of course just then and well oh um uh er i think so it that",
    "bitte danke natürlich das d' s'il vous te plaît merci bien sûr por favor gracias",
    "per favore grazie obrigado obrigada graag alsjeblieft dank je",
)
"""Words around an agreement that do not change it."""
DOUBT_WORDS = _word_set(
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
"""Words that turn any answer into a no."""
MAX_YES_WORDS = 6
"""Words that an answer may have which begins with a yes."""


def confirmation_question(actions: Sequence[str], language: str) -> str:
    """Return the question whether these actions may run, in `language` or in English if that is unknown."""
    text = QUESTIONS.get(language.partition("-")[0].lower(), QUESTIONS["en"])
    return text.format(what=", ".join(actions) or "…")


def is_yes(user_text: str) -> bool:
    """Whether this is a clear yes. A doubt, a question, a change of mind or silence is a no."""
    text = _normalize(user_text)
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)*", text)
    if not words or "?" in text or not DOUBT_WORDS.isdisjoint(words):
        return False
    if words[0] in YES_WORDS and len(words) <= MAX_YES_WORDS:
        return True
    joined = " ".join(words)
    agrees = not AGREEMENT_WORDS.isdisjoint(words) or any(phrase in joined for phrase in AGREEMENT_PHRASES)
    allowed = AGREEMENT_WORDS.union(NEUTRAL_WORDS, *(phrase.split() for phrase in AGREEMENT_PHRASES))
    return agrees and allowed.issuperset(words)
