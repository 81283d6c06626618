"""The phrases that the gateway itself says, per language: acknowledgements, progress phrases and apologies.

Phrases have no final punctuation; a dialect adds the ending that its platform needs
(`voicegw.turns.dialects`). No phrase may sound like a farewell: some platforms hang up when they hear one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Phrases:
    """The phrases of one language."""

    ack: tuple[str, ...]
    """Acknowledgements, used in order, without punctuation."""
    progress: tuple[str, ...]
    """Phrases for an agent that still works, used in order, without punctuation."""
    failure: str
    """The sentence after a failure of the agent or the gateway."""
    busy: str
    """The sentence when a limit is reached or the agent is busy."""
    shutdown: str
    """The sentence when the gateway shuts down in the middle of a turn."""
    code: str
    """The sentence in place of a block of code; "" for silence."""
    yes: str
    """The word for a tick in a table."""
    no: str
    """The word for a cross in a table."""
    nothing: str
    """The sentence in place of an answer without speakable words."""
    full_stop: str = "."
    """The full stop of the language's script."""


# The built-in phrases by language tag.
PHRASES: Mapping[str, Phrases] = {
    "en": Phrases(
        ("One moment", "Let me see", "Just a second", "Let me check"),
        ("Still working on it", "Just a little longer", "Nearly there"),
        "Sorry, something went wrong. Could you say that again?",
        "Sorry, we are very busy right now. Please try again in a moment.",
        "Sorry, I have to stop here. Please try again in a minute.",
        "I'll leave out the code here.",
        "yes",
        "no",
        "Okay.",
    ),
    "de": Phrases(
        ("Einen Moment", "Ich schaue nach", "Kleinen Augenblick", "Mal sehen"),
        ("Ich bin noch dabei", "Nur noch einen Augenblick", "Gleich habe ich es"),
        "Entschuldigung, da ist etwas schiefgegangen. Könnten Sie das wiederholen?",
        "Entschuldigung, gerade ist sehr viel los. Bitte versuchen Sie es gleich noch einmal.",
        "Entschuldigung, ich muss hier unterbrechen. Bitte versuchen Sie es in einer Minute wieder.",
        "Den Code lasse ich hier aus.",
        "ja",
        "nein",
        "In Ordnung.",
    ),
    "es": Phrases(
        ("Un momento", "Déjeme ver", "Un segundo", "Ahora lo miro"),
        ("Sigo en ello", "Solo un poco más", "Ya casi está"),
        "Perdón, algo ha salido mal. ¿Puede repetirlo?",
        "Perdón, ahora mismo estamos muy ocupados. Inténtelo de nuevo en un momento.",
        "Perdón, tengo que parar aquí. Inténtelo de nuevo en un minuto.",
        "Aquí omito el código.",
        "sí",
        "no",
        "De acuerdo.",
    ),
    "fr": Phrases(
        ("Un instant", "Je regarde", "Une petite seconde", "Voyons voir"),
        ("Je suis toujours dessus", "Encore un petit instant", "C'est presque fini"),
        "Désolé, un problème est survenu. Pouvez-vous répéter ?",
        "Désolé, nous sommes très occupés. Réessayez dans un instant.",
        "Désolé, je dois m'arrêter ici. Réessayez dans une minute.",
        "Je laisse le code de côté ici.",
        "oui",
        "non",
        "D'accord.",
    ),
    "it": Phrases(
        ("Un momento", "Vediamo", "Un attimo", "Controllo subito"),
        ("Ci sto ancora lavorando", "Ancora un attimo", "Ho quasi finito"),
        "Mi scusi, qualcosa è andato storto. Può ripetere?",
        "Mi scusi, ora siamo molto occupati. Riprovi tra un momento.",
        "Mi scusi, devo fermarmi qui. Riprovi tra un minuto.",
        "Qui tralascio il codice.",
        "sì",
        "no",
        "D'accordo.",
    ),
    "pt": Phrases(
        ("Um momento", "Deixe-me ver", "Só um segundo", "Vou verificar"),
        ("Ainda estou a tratar disso", "Só mais um pouco", "Está quase"),
        "Desculpe, algo correu mal. Pode repetir?",
        "Desculpe, estamos muito ocupados agora. Tente de novo daqui a pouco.",
        "Desculpe, tenho de parar aqui. Tente de novo daqui a um minuto.",
        "Aqui vou omitir o código.",
        "sim",
        "não",
        "Está bem.",
    ),
    "nl": Phrases(
        ("Een ogenblik", "Even kijken", "Een momentje", "Ik zoek het op"),
        ("Ik ben er nog mee bezig", "Nog heel even", "Bijna klaar"),
        "Sorry, er ging iets mis. Kunt u dat herhalen?",
        "Sorry, het is nu erg druk. Probeer het zo nog eens.",
        "Sorry, ik moet hier stoppen. Probeer het over een minuut nog eens.",
        "De code laat ik hier weg.",
        "ja",
        "nee",
        "Oké.",
    ),
    "pl": Phrases(
        ("Chwileczkę", "Już sprawdzam", "Sekundę", "Zobaczmy"),
        ("Nadal nad tym pracuję", "Jeszcze chwilka", "Już prawie gotowe"),
        "Przepraszam, coś poszło nie tak. Czy może pan lub pani powtórzyć?",
        "Przepraszam, mamy teraz duży ruch. Proszę spróbować za chwilę.",
        "Przepraszam, muszę tu przerwać. Proszę spróbować za minutę.",
        "Kod tutaj pominę.",
        "tak",
        "nie",
        "Dobrze.",
    ),
    "sv": Phrases(
        ("Ett ögonblick", "Låt mig se", "En sekund", "Jag kollar"),
        ("Jag håller på med det", "Bara lite till", "Nästan klart"),
        "Förlåt, något gick fel. Kan du säga det igen?",
        "Förlåt, det är mycket just nu. Försök igen om en stund.",
        "Förlåt, jag måste sluta här. Försök igen om en minut.",
        "Koden hoppar jag över här.",
        "ja",
        "nej",
        "Okej.",
    ),
    "tr": Phrases(
        ("Bir dakika", "Hemen bakıyorum", "Bir saniye", "Bakalım"),
        ("Hâlâ üzerinde çalışıyorum", "Birazcık daha", "Neredeyse bitti"),
        "Üzgünüm, bir sorun oldu. Tekrar eder misiniz?",
        "Üzgünüm, şu anda çok yoğunuz. Lütfen birazdan tekrar deneyin.",
        "Üzgünüm, burada durmam gerekiyor. Lütfen bir dakika sonra tekrar deneyin.",
        "Buradaki kodu atlıyorum.",
        "evet",
        "hayır",
        "Tamam.",
    ),
    "ja": Phrases(
        ("少々お待ちください", "確認いたします", "お調べします"),
        ("まだ作業中です", "もう少々お待ちください", "まもなく終わります"),
        "申し訳ありません、問題が発生しました。もう一度お願いできますか。",
        "申し訳ありません、ただいま混み合っております。少し後でもう一度お試しください。",
        "申し訳ありません、ここで中断いたします。一分ほど後にもう一度お試しください。",
        "ここではコードを省略します。",
        "はい",
        "いいえ",
        "わかりました。",
        full_stop="。",
    ),
    "zh": Phrases(
        ("请稍等", "我看一下", "我查一下"),
        ("我还在处理", "再等一下", "马上就好"),
        "抱歉,出了点问题。您能再说一遍吗?",
        "抱歉,现在比较繁忙。请稍后再试。",
        "抱歉,我得先停在这里。请一分钟后再试。",
        "这里的代码我就不念了。",
        "是",
        "否",
        "好的。",
        full_stop="。",
    ),
    "hi": Phrases(
        ("एक क्षण", "मैं देखता हूँ", "ज़रा रुकिए"),
        ("मैं अभी इस पर काम कर रहा हूँ", "बस थोड़ी देर और", "लगभग हो गया"),
        "माफ़ कीजिए, कुछ गड़बड़ हो गई। क्या आप दोहराएँगे?",
        "माफ़ कीजिए, अभी बहुत व्यस्तता है। थोड़ी देर में फिर कोशिश करें।",
        "माफ़ कीजिए, मुझे यहीं रुकना होगा। एक मिनट बाद फिर कोशिश करें।",
        "कोड मैं यहाँ छोड़ रहा हूँ।",
        "हाँ",
        "नहीं",
        "ठीक है।",
        full_stop="।",
    ),
}


def phrases_for(
    language: str,
    acks: Mapping[str, Sequence[str]] | None = None,
    progress: Mapping[str, Sequence[str]] | None = None,
    code: Mapping[str, str] | None = None,
    nothing: Mapping[str, str] | None = None,
) -> Phrases:
    """Return the phrases for `language`: "pt-BR" falls back to "pt", an unknown language to English.

    `acks` and `progress` are configured phrases by language, `code` and `nothing` configured sentences by
    language; each replaces the built-in one of its language.
    """
    tag = language.lower().replace("_", "-")
    primary = tag.split("-", 1)[0]
    phrases = PHRASES.get(tag) or PHRASES.get(primary) or PHRASES["en"]
    if not (acks or progress or code or nothing):
        return phrases
    tags = (tag, primary, "en") if phrases is PHRASES["en"] else (tag, primary)
    return replace(
        phrases,
        ack=tuple(first_configured(acks or {}, tags, ())) or phrases.ack,
        progress=tuple(first_configured(progress or {}, tags, ())) or phrases.progress,
        code=first_configured(code or {}, tags, phrases.code),
        nothing=first_configured(nothing or {}, tags, phrases.nothing),
    )


def first_configured(configured: Mapping[str, T], tags: Sequence[str], default: T) -> T:
    """Return the value for the first of these language tags that is configured, or `default`."""
    values = {key.lower(): value for key, value in configured.items()}
    return next((values[tag] for tag in tags if tag in values), default)
