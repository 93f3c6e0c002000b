"""Render random studio people with ground truth: the training data of the face regressor.

    python -m training.render_faces --output outputs/training/faces --people 800

Each person has one file, `00000.npz` and so on; existing files are kept, so a killed run resumes. Person i depends on
seed i alone, regardless of the number of people and workers.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np

from metatalk_lib.speech.sentences import SENTENCES
from metatalk_lib.speech.synthesis import VOICES, synthesize
from metatalk_lib.studio.random_people import perform_at_random, sample_extra
from metatalk_lib.studio.scene import Scene
from training.people import render_people, save_person

SIZE, FACE_PX = 400, 240.0
JPEG_QUALITY = 92
UTTERANCES = 60


@lru_cache(maxsize=1)
def spoken_corpus() -> list:
    """Phonemes and durations of some sentences, synthesised once per process."""
    generator = np.random.default_rng(5)
    texts = generator.choice(SENTENCES, UTTERANCES, replace=False)
    speeches = [synthesize(str(text), str(generator.choice(VOICES))) for text in texts]
    return [(speech.phonemes, speech.duration_s) for speech in speeches]


def render_person(path: Path, seed: int, frames: int) -> None:
    """Render pictures of one random person as JPEG bytes, with the arrays of `studio.truth` for each."""
    generator = np.random.default_rng([seed, 7701])
    character = sample_extra(generator, size=SIZE, face_width_px=FACE_PX * float(generator.uniform(0.92, 1.1)))
    scene = Scene(character, 1.0, seed)
    performance = perform_at_random(generator, spoken_corpus(), frames)
    save_person(path, scene, performance, JPEG_QUALITY)


if __name__ == "__main__":
    render_people(render_person, __doc__, people=800, frames=16)
