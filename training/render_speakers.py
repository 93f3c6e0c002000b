"""Render all frames of random studio people speaking, with sound: training data of judges and compared methods.

    python -m training.render_speakers --output outputs/training/speakers

Each person has one file, `00000.npz` and so on; existing files are kept, so a killed run resumes. Person i depends on
seed i alone, regardless of the number of people and workers. No person is one of the seven characters, none has a
character's voice in any language, and each articulates differently. Every tenth person is held out for tests, with
voices that no other person has. Needs Flite and Festival, see training/README.md.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from metatalk_lib.media.audio import FEATURE_RATE, to_mono_16k, to_pcm16
from metatalk_lib.speech.augmentation import scale_throat
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED, RECORDED_VOICES, synthesize_recorded
from metatalk_lib.speech.sentences import HELD_OUT_SENTENCES, SENTENCES_SEEN
from metatalk_lib.speech.synthesis import Speech, pad_with_pauses, synthesize
from metatalk_lib.speech.words import WORDS, draw_text
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.characters import StudioCharacter
from metatalk_lib.studio.performance import perform
from metatalk_lib.studio.random_people import sample_extra
from metatalk_lib.studio.scene import Scene
from training.people import is_test, render_people, save_person
from training.speech_corpus import HELD_OUT_SYNTHETIC, RECORDED, SYNTHETIC, VARIANTS

PEOPLE, FPS = 300, 25
SIZE, FACE_PX = 288, 150.0
JPEG_QUALITY = 92
CHARACTER_VARIANTS = {character.voice.partition("+")[2] for character in STUDIO_CHARACTERS.values()}
ENGLISH = tuple(voice for voice in SYNTHETIC if voice.partition("+")[2] not in CHARACTER_VARIANTS)
FOREIGN_VARIANTS = tuple(variant for variant in VARIANTS if variant[1:] not in CHARACTER_VARIANTS)
TEST_ENGLISH = tuple(voice for voice in HELD_OUT_SYNTHETIC if voice.partition("+")[2] not in CHARACTER_VARIANTS)
KINDS = {"recorded": 0.5, "english": 0.25, "foreign": 0.25}
TURN_SIGMA = (0.05, 0.12, 0.04)
"""Standard deviations of pitch, yaw and roll of a person's head towards the camera, rad."""


def render_person(path: Path, seed: int, frames: int) -> None:
    """Render one person saying one sentence: JPEG bytes, arrays of `studio.truth`, `pcm_16k` and the `voice`'s name."""
    generator = start_person(seed)
    character = draw_character(generator)
    speech = draw_speech(generator, for_test=is_test(seed))
    count = min(frames, int(speech.duration_s * FPS))
    performance = perform(character, speech, count, seed)
    performance = performance._replace(rotation=performance.rotation + generator.normal(0, TURN_SIGMA))
    pcm = to_pcm16(to_mono_16k(speech.audio))[: count * FEATURE_RATE // FPS]
    save_person(path, Scene(character, 1.0, seed), performance, JPEG_QUALITY, pcm_16k=pcm, voice=np.array(speech.voice))


def start_person(seed: int) -> np.random.Generator:
    """Make the random generator for all choices about a person."""
    return np.random.default_rng([seed, 9907])


def draw_character(generator: np.random.Generator) -> StudioCharacter:
    """Draw a random person with an individual articulation."""
    character = sample_extra(generator, size=SIZE, face_width_px=FACE_PX * float(generator.uniform(0.9, 1.08)))
    return replace(
        character,
        speech_strength=float(generator.uniform(0.75, 1.25)),
        speech_jaw=float(generator.uniform(0.8, 1.2)),
        speech_lips=float(generator.uniform(0.8, 1.2)),
        motion=float(generator.uniform(0.5, 1.5)),
    )


def draw_speech(generator: np.random.Generator, *, for_test: bool) -> Speech:
    """Draw a sentence by a random voice and vocal tract, with pauses before and after it."""
    speech = scale_throat(_speak(generator, for_test=for_test), float(generator.uniform(0.86, 1.16)))
    return pad_with_pauses(speech, *generator.uniform(0.1, 0.5, 2))


def _speak(generator: np.random.Generator, *, for_test: bool) -> Speech:
    kind = str(generator.choice(list(KINDS), p=list(KINDS.values())))
    sentences = HELD_OUT_SENTENCES if for_test else SENTENCES_SEEN
    sentence = str(generator.choice(sentences))
    if kind == "recorded":
        voice = str(generator.choice(HELD_OUT_RECORDED if for_test else RECORDED))
        language = RECORDED_VOICES[voice].language
        text = sentence if language == "en" else draw_text(language, generator)
        return synthesize_recorded(text, voice, stretch=float(generator.uniform(0.8, 1.35)))
    if kind == "foreign" and not for_test:
        language = str(generator.choice(list(WORDS)))
        sentence, voice = draw_text(language, generator), language + str(generator.choice(FOREIGN_VARIANTS))
    else:
        voice = str(generator.choice(TEST_ENGLISH if for_test else ENGLISH))
    return synthesize(
        sentence, voice, speed_wpm=int(generator.integers(115, 215)), pitch=int(generator.integers(15, 90))
    )


if __name__ == "__main__":
    render_people(render_person, __doc__, people=PEOPLE, frames=125)
