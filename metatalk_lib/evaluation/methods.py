"""The five methods of Table 2 for one character, and their videos, which are reused while their inputs are unchanged.

Beside each video lies a `.json` file that records its inputs: the recording, the person's files, weights and settings,
and the version of this library's code. Scoring can be repeated without making the videos again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from metatalk_lib.baselines.atvg import label_atvg, list_atvg_files, talk_atvg
from metatalk_lib.baselines.audiodvp import talk_audiodvp
from metatalk_lib.baselines.make_it_talk import label_make_it_talk, talk_make_it_talk
from metatalk_lib.baselines.make_it_talk_weights import list_make_it_talk_files
from metatalk_lib.baselines.wav2lip import label_wav2lip, list_wav2lip_files, talk_wav2lip
from metatalk_lib.core.artifacts import load_json, save_json, sha256_file
from metatalk_lib.core.code_fingerprint import fingerprint_modules
from metatalk_lib.core.errors import DataError, MetaTalkError
from metatalk_lib.core.parallel import draw_ahead
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.talk.talker import talk

ABLATIONS = {"Baseline": "AudioDVP", "Our A2E": "Our A2E", "High definition": "High definition", "Ours": "Ours"}
"""Row of Table 3 to the method shown there."""
PERSON_FILES = (
    "01_crop/crop.json",
    "01_crop/landmarks.npz",
    "01_crop/audio.wav",
    "01_crop/face_256.mp4",
    "03_reconstruction/coefficients.npz",
)
"""A person's files that determine every method's video; the face video stands for the source."""

SETTINGS_FILES = ("a2e.json", "renderer.json", "references.npz")
"""Settings files that determine a trained method's video besides its weights."""
VIDEOS_AT_ONCE = 2
"""Videos made at the same time: one method reads, draws or encodes while the network of another one runs."""


@dataclass(frozen=True)
class Method:
    """One method of making a person speak.

    Attributes:
        name: column or row in the tables.
        label: heading in the tables, which includes weights and size.
        talk: function of the recording, the output and the first source frame.
        module: module whose code, with all that it imports, determines the method's video.
        depends_on: files that determine it, besides `PERSON_FILES`.
    """

    name: str
    label: str
    talk: Callable[[Path, Path, int], object]
    module: str
    depends_on: tuple[Path, ...] = field(default=())


def list_methods(
    character_dir: Path,
    audiodvp_dir: Path,
    audiodvp_label: str,
    *,
    weights: Literal["auto", "open", "official"] = "auto",
    device: torch.device | None = None,
) -> dict[str, Method]:
    """List the methods of Table 2, in its order, then the two mixtures of Table 3.

    `Our A2E` drives AudioDVP's renderer with our A2E; `High definition` drives our renderer with AudioDVP's A2E.

    Args:
        character_dir: `outputs/<character>`, with stages 01 to 05.
        audiodvp_dir: folder of the trained AudioDVP.
        audiodvp_label: label of the trained AudioDVP in the tables.
        weights: weights of the methods that have published checkpoints: `auto`, `open` or `official`.
        device: device on which networks run.

    Raises:
        DataError: official weights are requested and one of them is missing.
    """
    our_a2e_dir = character_dir / "04_audio_to_expression"
    renderer_files, a2e_files, audiodvp_files = (
        tuple(sorted(path for pattern in ("*.safetensors", *SETTINGS_FILES) for path in folder.rglob(pattern)))
        for folder in (character_dir / "05_neural_renderer", our_a2e_dir, audiodvp_dir)
    )
    small = {"trained_dir": audiodvp_dir, "device": device}

    def published(name: str, label: Callable, speak: Callable, files: Callable) -> Method:
        options = {"weights": weights, "device": device}
        return Method(
            name, label(weights), partial(_speak, speak, character_dir, options), speak.__module__, files(weights)
        )

    def trained(name: str, label: str, speak: Callable, options: dict, files: tuple[Path, ...]) -> Method:
        return Method(name, label, partial(_speak, speak, character_dir, options), speak.__module__, files)

    methods = [
        published("ATVG", label_atvg, talk_atvg, list_atvg_files),
        published("Wav2Lip", label_wav2lip, talk_wav2lip, list_wav2lip_files),
        trained("AudioDVP", audiodvp_label, talk_audiodvp, small, audiodvp_files),
        published("MakeItTalk", label_make_it_talk, talk_make_it_talk, list_make_it_talk_files),
        trained("Ours", "Ours", talk, {"device": device}, renderer_files + a2e_files),
        trained("Our A2E", "Our A2E", talk_audiodvp, {**small, "a2e_dir": our_a2e_dir}, audiodvp_files + a2e_files),
        trained(
            "High definition",
            "High definition",
            talk,
            {"device": device, "a2e_dir": audiodvp_dir / "a2e"},
            renderer_files + audiodvp_files,
        ),
    ]
    return {method.name: method for method in methods}


def _speak(speak: Callable, character_dir: Path, options: dict, audio: Path, output: Path, start: int) -> object:
    return speak(character_dir, audio, output, start_frame=start, **options)


def make_videos(
    methods: Mapping[str, Method],
    character_dir: Path,
    recordings: Mapping[str, tuple[Path, int]],
    folder: Path,
    *,
    failures: Failures | None = None,
) -> dict[str, dict[str, Path]]:
    """Make every method's video of every recording, `VIDEOS_AT_ONCE` at a time; they share torch's threads.

    A compared method that fails on one recording is left out, and the failure recorded; ours must not fail.

    Args:
        methods: methods from `list_methods`.
        character_dir: the person's folder.
        recordings: name to recording and first source frame.
        folder: output folder of the videos `<method>_<recording>.mp4`.
        failures: where failures are recorded; methods that failed already are not tried. None raises the first one.

    Returns:
        Method to recording to video, of the methods that made all.

    Raises:
        DataError: as `make_video`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    must_work = set(methods) if failures is None else {OURS}
    failures = failures or Failures()
    jobs = [(name, recording) for name in methods if not failures.has(name, "video") for recording in recordings]

    def make(job: tuple[str, str]) -> Path | MetaTalkError:
        name, recording = job
        audio, start = recordings[recording]
        output = folder / f"{name.lower().replace(' ', '_')}_{recording}.mp4"
        try:
            return make_video(methods[name], character_dir, audio, output, start_frame=start)
        except MetaTalkError as error:
            if name in must_work:
                raise
            return error

    threads = max(1, torch.get_num_threads() // VIDEOS_AT_ONCE)
    made: dict[str, dict[str, Path]] = {name: {} for name, _ in jobs}
    for (name, recording), path in zip(jobs, draw_ahead(make, jobs, VIDEOS_AT_ONCE, threads=threads), strict=True):
        if isinstance(path, MetaTalkError):
            failures.add(name, "video", path)
        else:
            made[name][recording] = path
    return {name: videos for name, videos in made.items() if not failures.has(name, "video")}


def make_video(method: Method, character_dir: Path, audio: Path, output: Path, *, start_frame: int = 0) -> Path:
    """Make the method's video of a recording, unless it exists and none of its inputs has changed.

    Args:
        method: one of `list_methods`.
        character_dir: the person's folder.
        audio: the recording.
        output: the .mp4 file; a `.json` file beside it records its inputs.
        start_frame: source frame shown first.

    Raises:
        DataError: a file of the person or of the method is missing.
    """
    wanted = describe_video(method, character_dir, audio, start_frame)
    beside = output.with_suffix(".json")
    if output.is_file() and beside.is_file() and load_json(beside) == wanted:
        return output
    beside.unlink(missing_ok=True)
    method.talk(audio, output, start_frame)
    save_json(beside, wanted)
    return output


def describe_video(method: Method, character_dir: Path, audio: Path, start_frame: int) -> Mapping[str, object]:
    """Describe the inputs that determine a video, as plain values."""
    files = [character_dir / name for name in PERSON_FILES]
    missing = [path for path in (*files, audio, *method.depends_on) if not path.is_file()]
    if missing:
        raise DataError(f"{method.name}: {missing[0]} does not exist. Run the stage or the training that writes it.")
    sums = [sha256_file(path) for path in (*files, *method.depends_on)]
    return {
        "method": method.label,
        "audio": sha256_file(audio),
        "start_frame": start_frame,
        "files": hashlib.sha256(json.dumps(sums).encode()).hexdigest(),
        "code": fingerprint_modules(method.module),
    }


METHODS = ("ATVG", "Wav2Lip", "AudioDVP", "MakeItTalk", "Ours")
OURS = METHODS[-1]
