"""Shared configuration of all tests: their order, and libraries that are imported ahead of ours."""

import importlib

import pytest

LIBRARIES = ("beartype", "ipywidgets", "lightning_fabric", "matplotlib.pyplot", "numba", "pandas", "scipy.signal")


def pytest_configure(config: pytest.Config) -> None:
    """Import the libraries in a process that shares the whole suite.

    While a module of ours is imported, the checker of shapes lets no module find its bytecode on the disk, those of
    libraries that it imports for the first time included. Ahead of it they load in a fraction of the time.
    """
    if hasattr(config, "workerinput"):
        for name in LIBRARIES:
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest file first: where processes share the files, none must wait for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_notebooks_run.py")
