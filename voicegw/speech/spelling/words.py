"""The words of each language that the locale data lacks: decimal mark, ranges, times, dates and prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from voicegw.speech.spelling.symbols import DOLLARS, POUNDS


@dataclass(frozen=True, slots=True)
class SpellingWords:
    """How one language says written forms. A template of "" leaves the form as it is written."""

    point: str
    """The word for the decimal mark."""
    minus: str
    plus: str
    to: str
    """The word of a range, between two numbers."""
    hour: str
    """A full hour, with `{h}`."""
    time: str
    """An hour and minutes, with `{h}` and `{m}`."""
    date: str
    """A day with its month and year: `{day}`, `{month}`, `{year}`."""
    price: str
    """A price with two decimals: `{name}`, `{major}`, `{minor}`."""
    hour_gender: str = ""
    """The grammatical gender of hours."""
    day: str = ""
    """The form of the ordinal of a day; "" for a cardinal number."""
    first_day: str = ""
    """The word for the first day of a month, where the other days are cardinal."""
    short_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Short names of currencies, for one and for several, and for many where that differs."""
    glue: str = " "
    """The text between a number and a name."""
    feminine: tuple[str, ...] = ()
    """The ends of names that are feminine, in languages whose numbers follow the gender."""
    percent: str = ""
    """A percentage, where the locale data has only its sign."""
    has_spoken_years: bool = False
    """A bare number from 1900 to 2099 is read as a year."""
    day_month: str = "{day} {month}"
    """A day with its month."""


WORDS: Mapping[str, SpellingWords] = {
    "en": SpellingWords(
        *("point", "minus", "plus", "to", "{h} o'clock", "{h} {m}"),
        *("{month} {day}, {year}", "{major} {name} and {minor}"),
        day="",
        short_names={DOLLARS: ("dollar", "dollars"), POUNDS: ("pound", "pounds"), "JPY": ("yen", "yen")},
        has_spoken_years=True,
        day_month="{month} {day}",
    ),
    "de": SpellingWords(
        *("Komma", "minus", "plus", "bis", "{h} Uhr", "{h} Uhr {m}"),
        *("{day} {month} {year}", "{major} {name} {minor}"),
        hour_gender="masculine",
        day="-r",
        short_names={DOLLARS: ("Dollar", "Dollar"), POUNDS: ("Pfund", "Pfund"), "JPY": ("Yen", "Yen")},
        feminine=("e", "Lira"),
        has_spoken_years=True,
    ),
    "fr": SpellingWords(
        *("virgule", "moins", "plus", "à", "{h} heures", "{h} heures {m}"),
        *("{day} {month} {year}", "{major} {name} {minor}"),
        hour_gender="feminine",
        first_day="premier",
        short_names={DOLLARS: ("dollar", "dollars"), POUNDS: ("livre", "livres"), "JPY": ("yen", "yens")},
        feminine=("livre", "couronne", "roupie", "heure", "minute", "seconde", "tonne", "once", "lire"),
    ),
    "es": SpellingWords(
        *("coma", "menos", "más", "a", "{h} en punto", "{h} {m}"),
        *("{day} de {month} de {year}", "{major} {name} con {minor}"),
        hour_gender="feminine",
        short_names={
            DOLLARS: ("dólar", "dólares"),
            POUNDS: ("libra", "libras"),
            "JPY": ("yen", "yenes"),
        },
        feminine=("a",),
    ),
    "it": SpellingWords(
        *("virgola", "meno", "più", "a", "{h} in punto", "{h} e {m}"),
        *("{day} {month} {year}", "{major} {name} e {minor}"),
        hour_gender="feminine",
        first_day="primo",
        short_names={
            DOLLARS: ("dollaro", "dollari"),
            POUNDS: ("sterlina", "sterline"),
            "JPY": ("yen", "yen"),
        },
        feminine=("a",),
    ),
    "pt": SpellingWords(
        *("vírgula", "menos", "mais", "a", "{h} horas", "{h} horas e {m}"),
        *("{day} de {month} de {year}", "{major} {name} e {minor}"),
        hour_gender="feminine",
        first_day="primeiro",
        short_names={
            "EUR": ("euro", "euros"),
            DOLLARS: ("dólar", "dólares"),
            POUNDS: ("libra", "libras"),
            "BRL": ("real", "reais"),
            "JPY": ("iene", "ienes"),
        },
        feminine=("a",),
    ),
    "nl": SpellingWords(
        *("komma", "min", "plus", "tot", "{h} uur", "{h} uur {m}"),
        *("{day} {month} {year}", "{major} {name} {minor}"),
        short_names={DOLLARS: ("dollar", "dollar"), POUNDS: ("pond", "pond"), "JPY": ("yen", "yen")},
        has_spoken_years=True,
    ),
    "pl": SpellingWords(
        *("przecinek", "minus", "plus", "do", "", "", "", "{major} {name} {minor}"),
        short_names={
            DOLLARS: ("dolar", "dolary", "dolarów"),
            POUNDS: ("funt", "funty", "funtów"),
            "PLN": ("złoty", "złote", "złotych"),
        },
        feminine=("a",),
        day_month="",
    ),
    "tr": SpellingWords(
        *("virgül", "eksi", "artı", "ila", "{h}", "{h} {m}"),
        *("{day} {month} {year}", "{major} {name} {minor}"),
        short_names={
            "EUR": ("avro", "avro"),
            DOLLARS: ("dolar", "dolar"),
            POUNDS: ("sterlin", "sterlin"),
            "TRY": ("lira", "lira"),
        },
    ),
    "ru": SpellingWords(
        *("и", "минус", "плюс", "до", "", "{h} {m}", "{day} {month} {year} года", "{major} {name} {minor}"),
        day="-neuter-genitive",
        short_names={
            DOLLARS: ("доллар", "доллара", "долларов"),
            POUNDS: ("фунт", "фунта", "фунтов"),
            "RUB": ("рубль", "рубля", "рублей"),
        },
        feminine=("а", "я"),
    ),
    "ar": SpellingWords(
        *("فاصل", "ناقص", "زائد", "إلى", "", "", "{day} {month} {year}", ""),
        percent="{0} بالمئة",
    ),
    "hi": SpellingWords(
        *("दशमलव", "ऋण", "धन", "से", "{h} बजे", "{h} बजकर {m} मिनट"),
        *("{day} {month} {year}", "{major} {name} {minor}"),
        short_names={DOLLARS: ("डॉलर", "डॉलर"), POUNDS: ("पाउंड", "पाउंड"), "INR": ("रुपया", "रुपये")},
    ),
    "ja": SpellingWords(
        *("点", "マイナス", "プラス", "から", "{h}時", "{h}時{m}分"),
        *("{year}年{month}{day}日", "{major}{name}{minor}"),
        short_names={DOLLARS: ("ドル", "ドル"), POUNDS: ("ポンド", "ポンド")},
        glue="",
        day_month="",
    ),
    "zh": SpellingWords(
        *("点", "负", "正", "到", "{h}点", "{h}点{m}分"),
        *("{year}年{month}{day}日", ""),
        percent="百分之{0}",
        short_names={"CNY": ("元", "元")},
        glue="",
        day_month="",
    ),
}
"""The words by language."""


MAGNITUDES: Mapping[str, str] = {
    "en": "thousand|million|billion|trillion",
    "de": "Millionen|Million|Milliarden|Milliarde|Mio\\.|Mrd\\.",
    "fr": "millions|million|milliards|milliard",
    "es": "millones|millón",
    "it": "milioni|milione|miliardi|miliardo",
    "pt": "milhões|milhão|bilhões|bilhão|mil",
    "nl": "miljoen|miljard",
}
"""Words behind the number of a price, before the name of its currency."""
WRITTEN_OUT = {"Mio.": "Millionen", "Mrd.": "Milliarden"}

GERMAN_ARTICLES = (
    r"\b(der|die|das|dem|den|des|am|im|zum|zur|vom|beim|ab|bis|seit"
    r"|jede[rnms]?|unser[en]{0,2}|mein[en]{0,2})\s"
)
"""Words before a German ordinal; they show its form."""
LABELS = (
    r"(?:\b(?:code|pin|room|flight|gate|line|bus|tram|train|platform|track|terminal|extension|ext|zip|postcode|box"
    r"|number|no|option|version|release|order|ticket|apartment|apt|suite|unit|model|page|error|port|id|dial|call|text|enter|type"
    r"|zimmer|flug|linie|gleis|plz|postfach|nummer|nr|taste|wähle|wählen|wählt|tippe|tippen|bestellung|bestellnummer|kundennummer|fehler|seite"
    r"|chambre|vol|ligne|quai|numéro|n°|porte|commande|habitación|vuelo|línea|andén|código|pedido|camera|volo"
    r"|linea|binario|codice|ordine|quarto|voo|linha|plataforma|kamer|vlucht|lijn|spoor|bestelling|pokój|lot|linia"
    r"|peron|numer|kod|oda|uçuş|hat|sipariş|номер|рейс|код|комната|заказ)"
    r"(?:\.?:?|\s(?:is|was|ist|war|lautet|est|es|è|é|to|to\sbe))"
    r"|(?:straße|strasse|str\.|gasse|allee|platz|weg|ring|damm|ufer|straat|laan|plein|gracht|kade|gatan|vägen)"
    r"|\b(?:via|viale|piazza|corso|calle|avenida|plaza|rua|ulica|ul\.|улица|ул\.|проспект)\s(?:\S{1,24}\s){0,2}\S{1,24}"
    r"|#)\s?\Z"
)
"""The end of the speech before a code, a house number or another number that counts nothing."""
NAMES = r"(?-i:(?:\b\w*[A-Z]\w*[A-Z]\w*|[^\W\d_][,;]?\s[A-Z][\w'’-]*)\s)\Z"
"""The end of the speech before a number that belongs to a name: "ISO 9001", "on Highway 101"."""
STREET_WORDS = {"fr": "rue|avenue|boulevard|place|quai|chemin|impasse|allée"}
"""Words that begin the name of a street behind a house number."""
STREETS = (
    r"\s(?:(?:[A-Z][\w'’.-]*\s){1,3}(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Way|Court)\b"
    rf"|(?:{'|'.join(STREET_WORDS.values())})\b)"
)
"""The street behind a house number."""
