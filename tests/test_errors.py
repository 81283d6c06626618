"""Everything that can go wrong has a status, a type and a sentence."""

from __future__ import annotations

import pytest

from voicegw import errors
from voicegw.errors import AgentError, RequestError, VoicegwError
from voicegw.turns import phrases


def leaves(kind: type[VoicegwError]) -> list[type[VoicegwError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in leaves(child))]


OURS = [kind for kind in leaves(VoicegwError) if kind.__module__ == errors.__name__]


def test_the_drawing_at_the_top_names_every_class() -> None:
    assert errors.__doc__ is not None
    assert {kind.__name__ for kind in OURS} == {
        word
        for word in errors.__doc__.split("Two questions")[0].replace("├──", " ").replace("└──", " ").split()
        if word in dir(errors)
    }


@pytest.mark.parametrize("kind", OURS)
def test_every_failure_has_a_status_and_a_sentence_in_every_language(kind: type[VoicegwError]) -> None:
    assert 400 <= kind.status <= 599
    assert kind.type
    for words in phrases.PHRASES.values():
        assert getattr(words, kind.phrase)


def test_a_refusal_shows_its_own_words_and_an_agent_s_failure_does_not() -> None:
    assert RequestError("bad 'n'", param="n").message == "bad 'n'"
    assert "secret" not in AgentError("upstream said: secret").message
    assert str(AgentError("upstream said: secret")) == "upstream said: secret"


def test_only_what_may_go_better_next_time_is_worth_a_retry() -> None:
    worth = {kind.__name__ for kind in OURS if kind.retryable}
    assert worth == {
        "ShuttingDown",
        "TooManyRequests",
        "ServiceUnavailable",
        "AgentUnavailable",
        "AgentBusy",
    }
