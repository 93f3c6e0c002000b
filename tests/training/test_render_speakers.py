"""The open SyncNet's training data has nothing in common with the characters that it judges."""

import numpy as np

from metatalk_lib.metrics.lse import OPEN_SYNCNET_PATH
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.characters import StudioCharacter
from training import render_speakers as speakers


def articulation(character: StudioCharacter) -> tuple[float, float, float]:
    return character.speech_strength, character.speech_jaw, character.speech_lips


def test_the_network_is_small_and_has_a_card():
    assert OPEN_SYNCNET_PATH.stat().st_size <= 10e6
    card = OPEN_SYNCNET_PATH.with_suffix(".md").read_text("utf-8")
    assert "python -m training.train_syncnet" in card
    assert "ROC AUC" in card


def test_no_speaker_articulates_as_a_character_does():
    drawn = [articulation(speakers.draw_character(speakers.start_person(seed))) for seed in range(speakers.PEOPLE)]
    cast = [articulation(character) for character in STUDIO_CHARACTERS.values()]
    distance = np.linalg.norm(np.array(drawn)[:, None] - np.array(cast), axis=2)
    assert distance.min() > 0.005


def test_no_speaker_has_a_characters_voice():
    voices = {*speakers.ENGLISH, *speakers.TEST_ENGLISH, *speakers.FOREIGN_VARIANTS, *speakers.RECORDED}
    variants = {voice.partition("+")[2] for voice in voices}
    assert not variants & {character.voice.partition("+")[2] for character in STUDIO_CHARACTERS.values()} - {""}
    assert not voices & {character.voice for character in STUDIO_CHARACTERS.values()}
