"""Render random studio people with their truth: the material that the face regressor learns from.

    python training/render_faces.py --output outputs/training/faces --people 800

One file a person, `00000.npz`; those that are there already are kept, so a killed run goes on. Person i is drawn from
seed i alone, whatever the number of people and workers.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from metatalk_lib.artifacts import save_arrays
from metatalk_lib.face_model import load_face_model
from metatalk_lib.progress import track
from metatalk_lib.speech import SENTENCES, VOICES, synthesize
from metatalk_lib.studio.extras import perform_at_random, sample_extra
from metatalk_lib.studio.scene import Pose, Scene
from metatalk_lib.studio.truth import compute_truth

SIZE, FACE_PX = 400, 240.0
JPEG_QUALITY = 92
UTTERANCES = 60


@lru_cache(maxsize=1)
def spoken_corpus() -> list:
    """Phonemes and durations of some sentences, spoken once a process."""
    generator = np.random.default_rng(5)
    texts = generator.choice(SENTENCES, UTTERANCES, replace=False)
    speeches = [synthesize(str(text), str(generator.choice(VOICES))) for text in texts]
    return [(speech.phonemes, speech.duration_s) for speech in speeches]


def render_person(path: Path, seed: int, frames: int) -> None:
    """Pictures of one random person as JPEG bytes, with the arrays of `studio.truth` for each."""
    generator = np.random.default_rng([seed, 7701])
    character = sample_extra(generator, size=SIZE, face_width_px=FACE_PX * float(generator.uniform(0.92, 1.1)))
    scene = Scene(character, 1.0, seed)
    performance = perform_at_random(generator, spoken_corpus(), frames)
    truth = compute_truth(scene, performance, load_face_model())
    coded = []
    for number, state in enumerate(zip(*performance, strict=True)):
        image = scene.render(Pose(*state[:3], float(state[3])), number)
        coded.append(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].ravel())
    lengths = np.array([len(code) for code in coded])
    save_arrays(path, jpeg=np.concatenate(coded), jpeg_length=lengths, **truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--people", type=int, default=800)
    parser.add_argument("--frames", type=int, default=16, help="pictures of each person")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    load_face_model()
    paths = {seed: arguments.output / f"{seed:05d}.npz" for seed in range(arguments.people)}
    missing = [seed for seed, path in paths.items() if not path.exists()]
    # forked workers would inherit the locks of threads that they do not have
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.workers, context) as pool:
        jobs = [pool.submit(render_person, paths[seed], seed, arguments.frames) for seed in missing]
        for job in track(jobs, "rendering people", unit="person"):
            job.result()


if __name__ == "__main__":
    main()
