"""Render random studio people while they speak, with their truth: the material that the generator prior learns from.

    python training/render_talkers.py --output outputs/training/talkers --people 200

One file a person, `00000.npz`; those that are there already are kept, so a killed run goes on. Person i is drawn from
seed i alone, whatever the number of people and workers. Faces are as wide as in crops of 512, 768 and 1024 px.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from metatalk_lib.artifacts import save_arrays
from metatalk_lib.crop import NATURAL_SIDE
from metatalk_lib.face_model import load_face_model
from metatalk_lib.progress import track
from metatalk_lib.speech import SENTENCES, VOICES, synthesize
from metatalk_lib.studio.extras import sample_extra
from metatalk_lib.studio.motion import perform
from metatalk_lib.studio.scene import Pose, Scene
from metatalk_lib.studio.truth import compute_truth

CROP_SIZES, CROP_SHARES = (512, 768, 1024), (0.65, 0.25, 0.10)
SIDE_PER_FACE = 1.5
"""Side of the picture in face widths: tighter than a crop, the lower face is all that is used."""
JPEG_QUALITY = 95


def render_person(path: Path, seed: int, frames: int) -> None:
    """Pictures of one random person saying one sentence, as JPEG bytes, with the arrays of `studio.truth` for each."""
    generator = np.random.default_rng([seed, 8803])
    face_px = float(generator.choice(CROP_SIZES, p=CROP_SHARES) / NATURAL_SIDE * generator.uniform(0.9, 1.1))
    size = 16 * round(SIDE_PER_FACE * face_px / 16)
    character = sample_extra(generator, size=size, face_width_px=face_px)
    speech = synthesize(str(generator.choice(SENTENCES)), str(generator.choice(VOICES)))
    count = max(frames, int(speech.duration_s * character.fps))
    performance = perform(character, speech, count, seed)
    shown = np.linspace(0, count - 1, frames).round().astype(int)
    performance = type(performance)(*(part[shown] for part in performance))
    scene = Scene(character, 1.0, seed)
    truth = compute_truth(scene, performance, load_face_model())
    coded = []
    for number, state in enumerate(zip(*performance, strict=True)):
        image = scene.render(Pose(*state[:3], float(state[3])), number)
        coded.append(cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].ravel())
    lengths = np.array([len(code) for code in coded])
    save_arrays(path, jpeg=np.concatenate(coded), jpeg_length=lengths, size=np.array(size), **truth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--frames", type=int, default=40, help="pictures of each person")
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
