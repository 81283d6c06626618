"""Every exception has a status, a type and a phrase."""

from __future__ import annotations

import pytest

from voicegw import errors
from voicegw.errors import AgentError, RequestError, VoicegwError
from voicegw.turns import phrases


def class_tree(kind: type[VoicegwError]) -> list[type[VoicegwError]]:
    return [kind, *(child_class for child in kind.__subclasses__() for child_class in class_tree(child))]


CLASSES = [kind for kind in class_tree(VoicegwError) if kind.__module__ == errors.__name__]


def test_module_docstring_names_every_class() -> None:
    assert errors.__doc__ is not None
    assert {kind.__name__ for kind in CLASSES} == {
        word
        for word in errors.__doc__.split("Two questions")[0].replace("├──", " ").replace("└──", " ").split()
        if word in dir(errors)
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_has_a_status_and_a_phrase_in_every_language(kind: type[VoicegwError]) -> None:
    assert 400 <= kind.status <= 599
    assert kind.type
    for texts in phrases.PHRASES.values():
        assert getattr(texts, kind.phrase)


def test_client_sees_the_message_of_a_request_error_but_not_of_an_agent_error() -> None:
    assert RequestError("bad 'n'", param="n").message == "bad 'n'"
    assert "secret" not in AgentError("upstream said: secret").message
    assert str(AgentError("upstream said: secret")) == "upstream said: secret"


def test_transient_errors_are_retryable() -> None:
    retryable = {kind.__name__ for kind in CLASSES if kind.retryable}
    assert retryable == {
        "ShuttingDown",
        "TooManyRequests",
        "ServiceUnavailable",
        "AgentUnavailable",
        "AgentBusy",
    }
