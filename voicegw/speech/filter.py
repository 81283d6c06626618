"""The speech filter: takes the deltas of an agent's text and returns text that a voice can speak.

It calls the rules and knows no marks itself. `RULES` names the rule of each mode; the docstring of `state`
describes how a rule decides. One call of a rule sees a window of at most `SpeechOptions.max_held_chars`
characters. If the rule returns `WAIT`, the undecided characters stay in `SpeechFilter.pending` until more
text comes, the agent pauses (`release`) or the text ends (`flush`). `docs/speech.md` lists what each mark
becomes.
"""

from __future__ import annotations

import re

from voicegw.speech import skipped
from voicegw.speech.blocks import fences, markers
from voicegw.speech.characters import SPECIAL, SURROGATE, join_surrogates
from voicegw.speech.inline import code_spans, links, rules
from voicegw.speech.markup import formula, model_tokens, paths, silenced, terminal
from voicegw.speech.markup.citations import CITATION
from voicegw.speech.markup.terminal import CONTROL_SEQUENCE, ESCAPE, split_escapes
from voicegw.speech.options import SpeechOptions
from voicegw.speech.prose import BLANK, MAX_TAIL, NO_GAP, SENTENCE_END
from voicegw.speech.stages.pipeline import make_stage
from voicegw.speech.state import WAIT, FilterState, Rule

RULES: dict[str, Rule] = {
    "line_start": markers.read_line_start,
    "inline": rules.read_inline,
    "code_span": code_spans.read_code_span,
    "formula": formula.read_formula,
    "fenced_line_start": fences.read_fenced_line_start,
    "fenced_line": fences.read_fenced_line,
    "indented_line": fences.read_indented_line,
    "json": terminal.skip_json,
    "diff_line": terminal.skip_diff_line,
    "trace_line": terminal.skip_trace_line,
    "log_line": terminal.skip_log_line,
    "long_path": paths.skip_path,
    "thematic_break": skipped.skip_thematic_break,
    "line_rest": skipped.skip_line_rest,
    "comment": skipped.skip_comment,
    "link_target": skipped.skip_link_target,
    "url": skipped.skip_url,
    "silenced_by_token": model_tokens.skip_to_token,
    "assumed_reasoning": silenced.begin_assumed_reasoning,
    "silenced": silenced.skip_silenced,
    "long_tag": silenced.skip_long_tag,
}
"""The rule of each mode; `FilterState.mode` is the mode."""

SILENT_MODES = frozenset({"silenced", "silenced_by_token", "assumed_reasoning", "comment"})
"""The modes within reasoning and other text that is never spoken."""

DEFAULT_OPTIONS = SpeechOptions()
UNDECIDED_WORDS = re.compile(r"(?:[\[$]|\*(?=#?\d)|~~(?=\S))[^\[$\\]*[^\W\d_]{2}\s")
"""An undecided `[`, `$`, `~~` or code such as *67, with words behind it that `release` says."""


class SpeechFilter:
    """Makes the text of one answer speakable while it streams.

    `feed` and the final `flush` together return the same speech for every cut of the text into deltas.
    Every string is accepted; no method raises.

    Attributes:
        options: how to speak, see `change_options`.
        pending: the undecided characters, at most `options.max_held_chars`.
        is_plain: the text ends in the middle of plain prose, and no mark of it is undecided.
    """

    def __init__(self, options: SpeechOptions = DEFAULT_OPTIONS) -> None:
        self.options = options
        self.pending = ""
        self._incomplete = ""
        self._state = self._new_state()
        self._speech = self._state.speech
        self._stage = make_stage(options)
        self.is_plain = False  # then `_feed_plain` may take the next delta

    def _new_state(self) -> FilterState:
        mode = "assumed_reasoning" if self.options.starts_with_reasoning else "line_start"
        return FilterState(self.options, mode=mode)

    @property
    def has_held_words(self) -> bool:
        """Whether `release` would return any speech."""
        if self._stage is not None and self._stage.pending:
            return True
        if self.is_plain:
            return False
        state, speech = self._state, self._speech
        return (
            (speech.gap == SENTENCE_END and bool(speech.tail))
            or state.has_kept_words
            or self._has_undecided_words
        )

    @property
    def is_silenced(self) -> bool:
        """Whether the text is now inside a tag of reasoning, or another one whose content is never spoken."""
        return self._state.mode in SILENT_MODES

    @property
    def _has_undecided_words(self) -> bool:
        """Do the undecided characters hold words, behind a mark about which `release` can decide?"""
        return (
            self._state.mode in ("line_start", "inline") and UNDECIDED_WORDS.match(self.pending) is not None
        )

    def feed(self, text: str) -> str:
        """Add a delta of the agent's text; return the speech that is decided, "" for none."""
        if not self.is_plain or not text:
            return self._feed_rules(text)
        word = text[1:] if text[0] == " " else text
        if word.isalnum() and word.isascii() and word[0] not in "hHwW":  # most deltas are one plain word
            special = None
        else:
            special = SPECIAL.search(text)
        if special is None:
            speech = self._feed_plain(text)
        elif special.end() == len(text) > 1 and text[-1] == " ":
            speech = self._feed_plain(text[:-1])
            if speech:
                self._speech.add_blank()
                self._state.previous_char, self._state.blanks = " ", 1
                speech += self._speech.take()
        else:
            speech = ""
        if not speech:
            return self._feed_rules(text)
        return speech if self._stage is None else self._stage.feed(speech)

    def _feed_plain(self, text: str) -> str:
        """Add plain text within prose without calling a rule; return "" if the rules have to decide."""
        speech = self._speech
        if text[0] == " ":
            if speech.gap or speech.tail[-1] == " ":
                return ""
        elif speech.gap:
            if speech.has_omission:
                return ""
            speech.gap = NO_GAP
            text = " " + text
        speech.tail = (speech.tail + text)[-MAX_TAIL:]
        self._state.previous_char = text[-1]
        self._state.line_chars += len(text) - text.count(" ")
        return text

    def release(self) -> str:
        """Return the words that are held back, because the agent pauses; more text may follow.

        A mark without words behind it stays undecided: a pause must not change the words.
        """
        state = self._state
        while self._has_undecided_words:
            pending, state.mode = self.pending, "inline"
            position = self._decide(pending)
            state.previous_char = pending[position - 1]
            self._run_rules(pending[position:])
        if state.has_kept_words:
            state.say_kept_cells()
        if self._speech.gap == SENTENCE_END:
            self._speech.say_gap()
        speech = self._take_ready()
        return speech if self._stage is None else speech + self._stage.release()

    def _decide(self, pending: str) -> int:
        """Decide about the mark before undecided words; return the index of the words."""
        state = self._state
        if CITATION.match(pending):
            return links.read_opening_bracket(state, pending, 0, len(pending), True)
        if pending[0] == "[":
            state.open_bracket("maybe")
        elif pending[0] == "~":
            state.open_marks["~"] = 2
            return 2
        else:
            state.output.say(pending[0])
        return 1

    def flush(self) -> str:
        """End the text; return the rest of its speech, with the full stop of its last item, heading or row.

        The next `feed` begins a new text, which is spoken after a blank.
        """
        incomplete = "" if self._incomplete.startswith(CONTROL_SEQUENCE) else self._incomplete
        self._incomplete = ""
        self._run_rules(self.pending + join_surrogates(incomplete), final=True)
        self._state.finish()
        speech, has_visible, tail = self._take_ready(), self._state.has_visible, self._speech.tail
        if self._stage is not None:
            speech += self._stage.flush()
        if has_visible and not tail:
            speech = tail = self.options.nothing
        self._state = self._new_state()
        self._speech = self._state.speech
        self._speech.tail, self._speech.gap = tail, BLANK if tail else NO_GAP
        self.is_plain = False
        return speech

    def change_options(self, options: SpeechOptions) -> None:
        """Use other options from here on: those of another language. Call it only right after `flush`."""
        self.options = self._state.options = options
        self._stage = make_stage(options)

    def _feed_rules(self, text: str) -> str:
        if self._incomplete:
            text, self._incomplete = self._incomplete + text, ""
        if not text.isascii() and SURROGATE.search(text):
            if "\ud800" <= text[-1] <= "\udbff":
                self._incomplete = text[-1]
            text = join_surrogates(text)
        if ESCAPE in text:
            text, part = split_escapes(text)
            self._incomplete = part + self._incomplete
        self._run_rules(self.pending + text if self.pending else text)
        return self._take_ready()

    def _run_rules(self, text: str, *, final: bool = False) -> None:
        """Call rules until the text is consumed or one returns `WAIT`; keep the rest in `pending`."""
        state, max_held, at, size = self._state, self.options.max_held_chars, 0, len(text)
        while at < size:
            if size - at < max_held:
                position = RULES[state.mode](state, text, at, size, final)
            else:
                position = RULES[state.mode](state, text, at, at + max_held, True)
            if position == WAIT:
                break
            if position > at:
                state.previous_char = text[position - 1]
                at = position
        self.pending = text[at:]
        self.is_plain = (
            at == size
            and state.mode == "inline"
            and state.output is self._speech
            and self._speech.gap <= BLANK
            and not self._speech.prefix
            and bool(self._speech.tail)
            and not self._incomplete
        )

    def _take_ready(self) -> str:
        speech = self._speech.take()
        return speech if self._stage is None or not speech else self._stage.feed(speech)
