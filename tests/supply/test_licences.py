"""Licences: how a package declares them, which are allowed, and that this environment's are."""

from __future__ import annotations

from email.message import Message

import pytest

from tests.supply import licences
from tests.supply.licences import ALLOWED, by_licence, declared


def package(*fields: tuple[str, str], name: str = "a") -> Message:
    """Return the metadata of a package."""
    message = Message()
    for key, value in (("Name", name), *fields):
        message[key] = value
    return message


CLASSIFIER = "License :: OSI Approved :: "


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("License-Expression", "MIT")], ["MIT"]),
        ([("License-Expression", "MPL-2.0 AND (Apache-2.0 OR MIT)")], ["MPL-2.0", "Apache-2.0", "MIT"]),
        ([("License-Expression", "MIT"), ("Classifier", CLASSIFIER + "BSD License")], ["MIT"]),
        ([("Classifier", CLASSIFIER + "BSD License"), ("License", "see file")], ["BSD License"]),
        ([("Classifier", "License :: OSI Approved"), ("License", "Apache 2.0")], ["Apache-2.0"]),
        ([("License", "MPL-2.0 AND MIT")], ["MPL-2.0", "MIT"]),
        ([("License", "GPL-3.0-only\nThe whole text follows.")], ["GPL-3.0-only"]),
        ([], ["no licence declared"]),
    ],
)
def test_declared_licences_are_read_from_the_first_field_that_has_them(
    fields: list[tuple[str, str]], expected: list[str]
) -> None:
    assert declared(package(*fields)) == expected  # type: ignore[arg-type]


def test_packages_are_listed_under_each_of_their_licences() -> None:
    packages = [
        package(("License-Expression", "MIT OR Apache-2.0"), name="b"),
        package(("License-Expression", "MIT"), name="A"),
        package(("License-Expression", "AGPL-3.0-only"), name="c"),
    ]
    found = by_licence(packages)  # type: ignore[arg-type]
    assert found == {"AGPL-3.0-only": ["c"], "Apache-2.0": ["b"], "MIT": ["A", "b"]}
    assert found.keys() - ALLOWED == {"AGPL-3.0-only"}


def test_licences_of_this_environment_are_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().out
    assert "orjson" in capsys.readouterr().out
