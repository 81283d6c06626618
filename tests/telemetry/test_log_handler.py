"""Tracebacks are logged without the messages of exceptions, which may quote a caller."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import pytest

from voicegw.telemetry.log_handler import WriterHandler, log_loop_error
from voicegw.telemetry.writer import TelemetryWriter

WORDS = "my number is 4711"


def fail() -> None:
    try:
        int(WORDS)
    except ValueError as error:
        raise LookupError(WORDS) from error


def logged(log_errors: bool) -> str:
    """Return what the handler writes about an exception with a cause."""
    reader, descriptor = os.pipe()
    handler = WriterHandler(TelemetryWriter(descriptor), log_errors=log_errors)
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        fail()
    except LookupError:
        logger.exception("a frame could not be processed")
    text = os.read(reader, 100_000).decode()
    os.close(reader)
    os.close(descriptor)
    return text


def test_traceback_has_classes_and_lines_of_code_but_no_message() -> None:
    text = logged(log_errors=False)
    assert text.startswith("a frame could not be processed\n")
    assert f'File "{__file__}"' in text
    assert "\nLookupError\ncaused by:\n" in text
    assert text.endswith("\nValueError\n")
    assert "4711" not in text


def test_messages_are_logged_if_configured() -> None:
    assert f"LookupError: {WORDS}" in logged(log_errors=True)


def test_hidden_context_is_left_out_and_a_visible_one_is_logged() -> None:
    formatter = WriterHandler(TelemetryWriter(2)).formatter
    assert formatter is not None

    def formatted(hide: bool) -> str:
        try:
            try:
                raise KeyError(WORDS)
            except KeyError as error:
                if hide:
                    raise OSError(WORDS) from None
                raise OSError(WORDS) from error.__cause__ or error
        except OSError as error:
            return formatter.formatException((type(error), error, error.__traceback__))

    assert "KeyError" not in formatted(hide=True)
    assert "KeyError" in formatted(hide=False)


async def test_error_of_the_loop_is_logged_without_its_task_s_words(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    context: dict[str, Any] = {"message": "a task failed", "exception": ValueError(WORDS), "task": WORDS}
    loop.set_exception_handler(log_loop_error)
    loop.call_exception_handler(context)
    [record] = caplog.records
    assert record.getMessage() == "a task failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is context["exception"]
