"""Render random studio people while they speak, with ground truth: the training data of the generator prior.

    python -m training.render_talkers --output outputs/training/talkers

Each person has one file, `00000.npz` and so on; existing files are kept, so a killed run resumes. Person i depends on
seed i alone, regardless of the number of people and workers. Faces are as wide as in crops of 512, 768 and 1024 px.
"""

from pathlib import Path

import numpy as np

from metatalk_lib.speech.sentences import SENTENCES
from metatalk_lib.speech.synthesis import VOICES, synthesize
from metatalk_lib.studio.performance import perform
from metatalk_lib.studio.random_people import sample_extra
from metatalk_lib.studio.scene import Scene
from metatalk_lib.tracking.crop import NATURAL_SIDE
from training.people import render_people, save_person

CROP_SIZES, CROP_SHARES = (512, 768, 1024), (0.65, 0.25, 0.10)
SIDE_PER_FACE = 1.5
"""Side of the picture in face widths: tighter than a crop, because only the lower face is used."""
JPEG_QUALITY = 95


def render_person(path: Path, seed: int, frames: int) -> None:
    """Render one random person saying one sentence, as JPEG bytes, with arrays of `studio.truth` for each picture."""
    generator = np.random.default_rng([seed, 8803])
    face_px = float(generator.choice(CROP_SIZES, p=CROP_SHARES) / NATURAL_SIDE * generator.uniform(0.9, 1.1))
    size = 16 * round(SIDE_PER_FACE * face_px / 16)
    character = sample_extra(generator, size=size, face_width_px=face_px)
    speech = synthesize(str(generator.choice(SENTENCES)), str(generator.choice(VOICES)))
    count = max(frames, int(speech.duration_s * character.fps))
    performance = perform(character, speech, count, seed)
    shown = np.linspace(0, count - 1, frames).round().astype(int)
    performance = type(performance)(*(part[shown] for part in performance))
    save_person(path, Scene(character, 1.0, seed), performance, JPEG_QUALITY, size=np.array(size))


if __name__ == "__main__":
    render_people(render_person, __doc__, people=112, frames=40)
