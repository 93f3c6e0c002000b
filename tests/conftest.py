"""Shared configuration of all tests: their order."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: where processes share the files, none must wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_notebooks_run.py")
