"""Formulas: their delimiters and commands turned into signs that voices know in every language."""

from __future__ import annotations

import re

from voicegw.speech.marks import UNHEARD_SET, names
from voicegw.speech.state import WAIT, State

PRICE = re.compile(r"\$\d[\d.,]*(?:\s?[\\^_{=+]|[A-Za-z]{0,2}\$)")
PRICE_PART = re.compile(r"\$(?:\d[\d.,]*(?:\s|[A-Za-z]{1,2})?)?\Z")
SHORT = re.compile(r"\$(?![\s$])[^$`\n]*(?<![\s\\])\$(?=[^\d$])")
SHORT_END = re.compile(r"\$(?![\s$])[^$`\n]*(?<![\s\\])\$\Z")
SHORT_PART = re.compile(r"\$[^$`\n]*\Z")
CASHTAG = re.compile(r"\$[A-Z]{2}")
WORD = re.compile(r"\\(?:([A-Za-z]+)\*?|(.))", re.DOTALL)
WORD_PART = re.compile(r"\\[A-Za-z]*\Z")
PLAIN = re.compile(rf"[^\\{{}}^_&~$\s{UNHEARD_SET}]+")
RAISED = {**dict(zip("0123456789+-n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", strict=True)), "'": "′"}
POWER = re.compile(r"\^(?:\{([0-9n+-]{1,8})\}|([0-9n']))")
DEGREE = re.compile(r"\^\{?\\(?:circ|prime)")
DEGREE_PART = re.compile(r"\^\{?\\[a-z]{0,4}\Z")
POWER_PART = re.compile(r"\^(?:\{[0-9n+-]{0,8})?\Z")
GREEK = (
    "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ iota ι kappa κ lambda "
    "λ mu μ nu ν xi ξ pi π rho ρ sigma σ tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω Gamma Γ "
    "Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Phi Φ Psi Ψ Omega Ω "
)
OPERATORS = (
    "times × cdot · div ÷ pm ± mp ∓ le ≤ leq ≤ ge ≥ geq ≥ ne ≠ neq ≠ approx ≈ equiv ≡ sim ∼ infty ∞ "
    "sum ∑ prod ∏ int ∫ partial ∂ nabla ∇ in ∈ notin ∉ subset ⊂ subseteq ⊆ cup ∪ cap ∩ forall ∀ "
    "exists ∃ to → rightarrow → Rightarrow ⇒ implies ⇒ leftarrow ← iff ⇔ ldots … cdots … dots … circ "
    "° degree ° prime ′ sqrt √ land ∧ lor ∨ neg ¬ lnot ¬ angle ∠ perp ⊥ parallel ∥ propto ∝ emptyset "
    "∅ ll ≪ gg ≫ "
)
SIGNS = dict(pair.split() for pair in re.findall(r"\S+ \S+", f"{GREEK} {OPERATORS}"))
LAYOUT = names(
    "left right big Big bigl bigr Bigl Bigr displaystyle textstyle limits nolimits quad qquad hline"
)
DROPPED_GROUPS = frozenset({"begin", "end", "label", "tag", "color", "ref", "hspace", "vspace"})
FONTS = names("text mathrm mathbf mathit mathbb mathcal operatorname textbf textit boxed overline vec hat")
FRACTIONS = frozenset({"frac", "dfrac", "tfrac", "cfrac"})
MOST_GROUPS = 32


def dollar(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """A `$`: a formula's, if it looks like one; otherwise money."""
    if text.startswith("$$", at):
        return double(s, text, at, end, sure)
    if at + 1 < end and text[at + 1].isdigit():
        if PRICE.match(text, at, end) is None:
            if PRICE_PART.match(text, at, end) and not sure:
                return WAIT
            return sign(s, at)
    elif CASHTAG.match(text, at, end):
        return sign(s, at)
    if SHORT.match(text, at, end) or (sure and SHORT_END.match(text, at, end)):
        return begin(s, "$", at + 1)
    if not sure and (SHORT_END.match(text, at, end) or SHORT_PART.match(text, at, end)):
        return WAIT if at + 1 == end or not text[at + 1].isspace() else sign(s, at)
    return sign(s, at)


def double(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """Two dollars begin a displayed formula if something is glued to them or a line ends there."""
    if at + 2 == end:
        if not sure:
            return WAIT
    elif text[at + 2] == "\n" or not (text[at + 2].isspace() or text[at + 2] in "$.,;:!?)-"):
        return begin(s, "$$", at + 2)
    elif text[at + 2] == " ":
        inside = text.find("$$", at + 2, end)
        if inside > 0 and "\\" in text[at:inside]:
            return begin(s, "$$", at + 2)
        if inside < 0 and not sure and "\n" not in text[at:end]:
            return WAIT
    s.prose.say("$$")
    return at + 2


def sign(s: State, at: int) -> int:
    s.prose.say("$")
    return at + 1


def begin(s: State, closer: str, after: int) -> int:
    s.enter("formula")
    s.closer = closer
    s.groups.clear()
    s.group = ""
    return after


def formula(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """Within a formula, up to its delimiter or the end of the paragraph."""
    char = text[at]
    if char in "\\$":
        if text.startswith(s.closer, at):
            return finish(s, at + len(s.closer))
        if at + 1 == end and not sure:
            return WAIT
        if char == "\\":
            return command(s, text, at, end, sure)
        return at + 1
    if char == "^":
        return power(s, text, at, end, sure)
    if char == "\n":
        return newline(s, text, at, end, sure)
    if char in "{}":
        return brace(s, char, at)
    found = PLAIN.match(text, at)
    if found is None:
        if char in " \t&~\r":
            s.prose.blank()
        return at + 1
    if "skip" in s.groups:
        return found.end()
    s.group = ""
    return s.run(text, at, found.end())


def finish(s: State, after: int) -> int:
    s.leave()
    return after


def newline(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """A line break is a blank; an empty line is the end, closed or not."""
    rest = text[at + 1 : end].lstrip(" \t\r")
    if not rest and not sure:
        return WAIT
    if rest.startswith("\n") or s.row or s.heading:
        return finish(s, at)
    s.prose.blank()
    return at + 1


def command(s: State, text: str, at: int, end: int, sure: bool) -> int:
    found = WORD.match(text, at, end)
    if (found is None or (found[1] and found.end() == end)) and not sure:
        return WAIT
    if found is None:
        return at + 1
    name = found[1] or ""
    if name in FRACTIONS:
        s.group = "over"
    elif name in DROPPED_GROUPS:
        s.group = "skip"
    elif name in SIGNS:
        s.prose.say(SIGNS[name])
    elif found[2] == "\\":
        s.prose.pause()
    elif found[2] in ("%", "$", "#"):
        s.prose.say(found[2])
    elif found[2] in (",", ";", ":", " ", "!", "\n") or name in LAYOUT:
        s.prose.blank()
    elif (
        name
        and not s.prose.lead
        and name not in ("text", "mathrm", "mathbf", "mathit", "operatorname", "textbf", "boxed")
    ):
        s.prose.blank()
        s.prose.say(name)
    return found.end()


def power(s: State, text: str, at: int, end: int, sure: bool) -> int:
    """A power, raised where Unicode can: voices read x² well."""
    found = POWER.match(text, at, end)
    if found:
        s.prose.say("".join(RAISED[char] for char in found[1] or found[2]))
        return found.end()
    if (POWER_PART.match(text, at, end) or DEGREE_PART.match(text, at, end)) and not sure:
        return WAIT
    if DEGREE.match(text, at, end):
        return at + 1
    s.prose.say("^")
    return at + 1


def brace(s: State, char: str, at: int) -> int:
    """Groups are silent; the second one of a fraction is what it is divided by."""
    if char == "{":
        s.groups.append(s.group)
        s.group = ""
        del s.groups[:-MOST_GROUPS]
    elif s.groups:
        kind = s.groups.pop()
        s.group = ""
        if kind == "over":
            s.prose.say("/")
    return at + 1
