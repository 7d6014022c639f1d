"""The page about Kafka's protocol says what the code does."""

from __future__ import annotations

from importlib import import_module

from eventlog.kafka.listener.apis import TABLE
from eventlog.kafka.protocol import APIS
from tests.docs import kafka_api_page
from tests.docs.kafka_page import PAGE, page


def test_the_page_is_what_the_table_says() -> None:
    """`python -m tests.docs.kafka_page` writes it again."""
    assert PAGE.read_text("utf-8") == page()


def test_the_page_of_the_api_is_what_the_docstrings_say() -> None:
    """`python -m tests.docs.kafka_api_page` writes it again."""
    assert kafka_api_page.PAGE.read_text("utf-8") == kafka_api_page.page()


def test_each_line_of_the_table_has_a_handler_and_versions_that_kafka_has() -> None:
    """In the order of their keys in the answer, each once."""
    assert len({api.key for api in TABLE}) == len(TABLE)
    for api in TABLE:
        module, _, name = api.place.partition(":")
        assert callable(getattr(import_module(module), name))
        known = APIS[api.key]
        assert known.first <= api.least <= api.most <= known.last
