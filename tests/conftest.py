"""Shared configuration of all tests: their order, and libraries that are imported ahead of ours."""

import importlib

import pytest

LIBRARIES = ("beartype", "ipywidgets", "lightning_fabric", "matplotlib.pyplot", "numba", "pandas", "scipy.signal")
LONGEST_FILES = ("test_notebooks_run.py", "test_bad_input.py", "test_comparison.py", "test_train_generator_prior.py")


def pytest_configure(config: pytest.Config) -> None:
    """Import the libraries in a process that shares the whole suite.

    While a module of ours is imported, the checker of shapes lets no module find its bytecode on the disk, those of
    libraries that it imports for the first time included. Ahead of it they load in a fraction of the time.
    """
    if hasattr(config, "workerinput"):
        for name in LIBRARIES:
            importlib.import_module(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first: where processes share the files, none must wait for one at the end."""
    places = {name: place for place, name in enumerate(LONGEST_FILES)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
