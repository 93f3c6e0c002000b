"""Notebooks and parameter files travel inside the package, so that an installed `metatalk` can run them."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["metatalk_lib*"]), "metatalk_lib.notebooks", "metatalk_lib.params"],
    package_dir={"metatalk_lib.notebooks": "notebooks", "metatalk_lib.params": "params"},
    package_data={
        "metatalk_lib": ["data/*", "*/*.pyi"],
        "metatalk_lib.notebooks": ["*.ipynb"],
        "metatalk_lib.params": ["*.yaml", "profiles/*.yaml"],
    },
)
