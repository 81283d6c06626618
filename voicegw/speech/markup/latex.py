"""The commands of LaTeX that formulas use, by their effect on speech. The rules are in `formula`."""

from __future__ import annotations

import re

from voicegw.speech.characters import split_names

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
COMMAND_SIGNS = dict(pair.split() for pair in re.findall(r"\S+ \S+", f"{GREEK} {OPERATORS}"))
"""The sign of each command."""
LAYOUT_COMMANDS = split_names(
    "left right big Big bigl bigr Bigl Bigr displaystyle textstyle limits nolimits quad qquad hline"
)
SILENT_GROUP_COMMANDS = frozenset({"begin", "end", "label", "tag", "color", "ref", "hspace", "vspace"})
"""Commands whose group is left out."""
FONT_COMMANDS = split_names(
    "text mathrm mathbf mathit mathbb mathcal mathsf operatorname textbf textit boxed overline "
    "underline vec hat bar ce"
)
ROOTS = {"2": "√", "3": "∛", "4": "∜"}
FRACTION_COMMANDS = frozenset({"frac", "dfrac", "tfrac", "cfrac"})
