"""The picture of a turn shows each utterance at its time, and is valid on light and dark pages."""

from __future__ import annotations

from xml.etree.ElementTree import fromstring

from loadtests.report.caller_timeline import ANSWER, SECONDS, Utterance, draw, x

SVG = "{http://www.w3.org/2000/svg}"


def test_each_utterance_is_a_bar_at_its_time() -> None:
    spoken = [Utterance(0.0, "One moment. "), Utterance(6.0, ANSWER)]
    root = fromstring(draw(spoken, spoken[1:]))
    bars = [
        (rect.get("class"), rect.get("x")) for rect in root.iter(f"{SVG}rect") if rect.get("height") == "44"
    ]
    assert bars == [
        ("silence", f"{x(0)}"),
        ("agent", f"{x(6.0):.1f}"),
        ("silence", f"{x(0)}"),
        ("own", f"{x(0.0):.1f}"),
        ("agent", f"{x(6.0):.1f}"),
    ]
    assert "prefers-color-scheme" in (root.findtext(f"{SVG}style") or "")


def test_speech_beyond_the_axis_is_cut_at_its_end() -> None:
    root = fromstring(draw([Utterance(0.0, "Hi.")], [Utterance(SECONDS - 1, "x" * 1000)]))
    [bar] = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") == "own" and rect.get("y") == "40"]
    assert float(bar.get("x") or 0) + float(bar.get("width") or 0) <= x(SECONDS) + 0.1
