"""Formulas: their delimiters and commands turned into signs that voices know in every language."""

from __future__ import annotations

import re

from voicegw.speech.characters import UNHEARD_SET, names
from voicegw.speech.state import WAIT, FilterState

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
BLOCK = re.compile(r"\n[ \t\r]*(?:\n|[-*+•>] |#{1,6} |\d{1,3}[.)] )")
BLOCK_PART = re.compile(r"\n[ \t\r]*(?:[-*+•>]|#{1,6}|\d{1,3}[.)]?)?\Z")
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
FONTS = names(
    "text mathrm mathbf mathit mathbb mathcal mathsf operatorname textbf textit boxed overline "
    "underline vec hat bar ce"
)
DIGITS = re.compile(r"\s?(\d)\s?(\d)")
DIGITS_PART = re.compile(r"\s?\d?\s?\Z")
SUM = re.compile(r"\{[^{}$]*[^{}$\s][+−±-][^{}$]*\}|\{[^{}$]*\s[+−±-]\s[^{}$]*\}")
GROUP_PART = re.compile(r"\{[^{}$\n]*\Z")
FRACTIONS = frozenset({"frac", "dfrac", "tfrac", "cfrac"})
MOST_GROUPS = 32


def dollar(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
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


def double(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Two dollars begin a displayed formula if something is glued to them or a line ends there."""
    if at + 2 == end:
        if not sure:
            return WAIT
    elif text[at + 2] == "\n" or not (text[at + 2].isspace() or text[at + 2] in "$.,;:!?)-0123456789"):
        return begin(s, "$$", at + 2)
    elif text[at + 2] == " ":
        line, over, _ = text[at + 2 : end].partition("\n")
        inside, closed, _ = line.partition("$$")
        if closed and "\\" in inside:
            return begin(s, "$$", at + 2)
        if not closed and not over and not sure:
            return WAIT
    s.prose.say("$$")
    return at + 2


def sign(s: FilterState, at: int) -> int:
    s.prose.say("$")
    return at + 1


def begin(s: FilterState, closer: str, after: int) -> int:
    s.enter("formula")
    s.closer = closer
    s.groups.clear()
    s.group = ""
    return after


def formula(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
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
        return brace(s, text, at, end, sure)
    found = PLAIN.match(text, at)
    if found is None:
        if char in " \t&~\r":
            s.prose.blank()
        return at + 1
    if "skip" in s.groups:
        return found.end()
    s.group = ""
    return s.run(text, at, found.end())


def finish(s: FilterState, after: int) -> int:
    s.leave()
    return after


def newline(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A line break is a blank; an empty line or the next block is the end, closed or not."""
    if BLOCK.match(text, at, end) or s.row or s.heading:
        return finish(s, at)
    if BLOCK_PART.match(text, at, end) and not sure:
        return WAIT
    s.prose.blank()
    return at + 1


def command(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    found = WORD.match(text, at, end)
    if (found is None or (found[1] and found.end() == end)) and not sure:
        return WAIT
    if found is None:
        return at + 1
    name = found[1] or ""
    if name in FRACTIONS:
        return fraction(s, text, found.end(), end, sure)
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
    elif name and name not in FONTS:
        s.prose.blank()
        s.prose.say(name)
    return found.end()


def fraction(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """A fraction: what is over, a slash, what is under; a number before it stays a number of its own."""
    short = DIGITS.match(text, at, end)
    if short is None and DIGITS_PART.match(text, at, end) and not sure:
        return WAIT
    if s.prose.tail[-1:].isdigit():
        s.prose.blank()
    if short:
        s.prose.say(f"{short[1]}/{short[2]}")
        return short.end()
    s.group = "over"
    return at


def power(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
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


def brace(s: FilterState, text: str, at: int, end: int, sure: bool) -> int:
    """Groups are silent, but for the sums of a fraction."""
    char = text[at]
    if char == "{" and s.group in ("over", "under") and GROUP_PART.match(text, at, end) and not sure:
        return WAIT
    if char == "{":
        kind, s.group = s.group, ""
        if kind in ("over", "under") and SUM.match(text, at, end):
            s.prose.say("(")
            kind += ")"
        s.groups.append(kind)
        del s.groups[:-MOST_GROUPS]
    elif s.groups:
        kind = s.groups.pop()
        if kind.endswith(")"):
            s.prose.say(")")
        if kind.startswith("over"):
            s.prose.say("/")
            s.group = "under"
    return at + 1
