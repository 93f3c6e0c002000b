"""Train the open MakeItTalk, a compared method, on studio people and synthetic voices; write its weights and cards.

    python -m training.render_speakers --output outputs/training/speakers
    python -m training.train_make_it_talk --speakers outputs/training/speakers

Five networks are trained in turn: the voice encoder, AutoVC, the content branch, the speaker branch and the image
translation. Utterances and finished networks are kept in a folder beside the people, so a killed training resumes with
the next part; other arguments or other training code make new files. Every value on the cards is measured by the run
that writes them, with the published weights, on held-out people, voices and sentences. Needs Flite and Festival, see
training/README.md.
"""

import argparse
import hashlib
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import nn

from metatalk_lib.baselines.make_it_talk_weights import (
    OPEN_AUTO_VC_WIDTH,
    OPEN_IMAGE_PATH,
    OPEN_IMAGE_WIDTH,
    OPEN_SOUND_PATH,
    OpenSound,
    open_depth,
    pack_sound,
    unpack_sound,
)
from metatalk_lib.core.artifacts import atomic_path, load_json, save_json
from metatalk_lib.core.checkpoints import load_weights, save_weights
from metatalk_lib.core.machine import describe_machine
from metatalk_lib.networks.residual_unet import ResidualUNet
from training import (
    make_it_talk_speech,
    train_make_it_talk_image,
    train_make_it_talk_landmarks,
    train_make_it_talk_sound,
)
from training.licences import SOURCES, describe_licence
from training.make_it_talk_speech import (
    STEPS_PER_S,
    Spoken,
    list_voices,
    load_speaker,
    load_utterances,
    make_utterances,
    save_utterances,
)
from training.people import RUNS, halve_weights, load_speakers, read_runs
from training.train_make_it_talk_image import BATCH, load_person, measure_image, train_image
from training.train_make_it_talk_landmarks import (
    WINDOWS,
    Motion,
    make_motion,
    measure_content,
    measure_speaker,
    train_content,
    train_speaker,
)
from training.train_make_it_talk_sound import (
    CROPS,
    PIECES,
    TARGET_NAME,
    VOICES,
    Heard,
    convert_all,
    embed_all,
    find_target_voice,
    measure_conversion,
    measure_voices,
    train_auto_vc,
    train_voice_encoder,
)

ADVICE = "Delete it and run again."


class Workshop:
    """The folder of finished parts, with the time that each took.

    Args:
        arguments: arguments of the command line.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.folder, self.minutes = arguments.speakers / "make_it_talk", {}
        self.people = len(list(arguments.speakers.glob("*.npz")))

    def key(self, *parts: object) -> str:
        """Compute a key of a part's inputs: modules by their code, everything else as printed."""
        seen = [
            Path(part.__file__).read_text("utf-8") if isinstance(part, ModuleType) else repr(part) for part in parts
        ]
        return hashlib.sha256("\n".join([str(self.people), *seen]).encode()).hexdigest()[:10]

    def train(self, name: str, key: str, network: nn.Module, learn: Callable[[], nn.Module]) -> nn.Module:
        """Return a finished network in evaluation mode; it is trained unless it exists already."""
        path = self.folder / f"{name}_{key}.safetensors"
        if not path.exists():
            started = time.perf_counter()
            weights = learn().state_dict()
            save_json(path.with_suffix(".json"), {"minutes": (time.perf_counter() - started) / 60})
            save_weights(path, weights)
        network.load_state_dict(load_weights(path, ADVICE))
        self.minutes[name] = load_json(path.with_suffix(".json"))["minutes"]
        return network.eval()

    def speak(self, name: str, key: str, make: Callable[[], list[Spoken]]) -> list[Spoken]:
        """Return utterances; they are synthesised unless they exist already."""
        path = self.folder / f"{name}_{key}.npz"
        if not path.exists():
            save_utterances(path, make())
        return load_utterances(path)


def train_sound(
    shop: Workshop, arguments: argparse.Namespace, known: list[tuple[Spoken, np.ndarray]]
) -> tuple[OpenSound, str]:
    """Train all audio and landmark networks; also returns a description of the training data."""
    seed, key = arguments.seed, shop.key(make_it_talk_speech, arguments.utterances, arguments.seed)
    spoken = shop.speak("speech", key, lambda: make_utterances(arguments.utterances, seed, arguments.workers))
    everything, sound = spoken + [item for item, _ in known], OpenSound()
    key = shop.key(key, train_make_it_talk_sound, arguments.voice_steps)
    learn = partial(train_voice_encoder, everything, arguments.voice_steps, seed)
    shop.train("voice_encoder", key, sound.voice_encoder, learn)
    embeddings = embed_all(sound.voice_encoder, everything)
    key = shop.key(key, arguments.vc_steps)
    learn = partial(train_auto_vc, everything, embeddings, arguments.vc_steps, seed)
    shop.train("auto_vc", key, sound.auto_vc, learn)
    heard = set_statistics(sound, spoken, everything, embeddings)
    learn = partial(train_content, heard, everything, arguments.content_steps, seed)
    landmarks = shop.key(key, train_make_it_talk_landmarks, arguments.content_steps)
    shop.train("content", landmarks, sound.content, learn)
    motions = [make_motion(own, points) for own, (_, points) in zip(heard[len(spoken) :], known, strict=True)]
    learn = partial(train_speaker, motions, arguments.speaker_steps, seed)
    landmarks = shop.key(key, train_make_it_talk_landmarks, arguments.speaker_steps)
    shop.train("speaker", landmarks, sound.speaker, learn)
    steps = sum(len(item.mel) for item in everything)
    return sound, (
        f"{len(spoken)} utterances of {len(list_voices(for_test=False))} voices, which Flite, Festival and espeak-ng "
        f"speak, and {len(known)} random studio people; {steps / STEPS_PER_S / 60:.0f} minutes of speech"
    )


def set_statistics(
    sound: OpenSound, spoken: list[Spoken], everything: list[Spoken], embeddings: list[np.ndarray]
) -> list[Heard]:
    """Set target voice, statistics and depths, and return all utterances as inputs of the branches."""
    target = find_target_voice(spoken, embeddings[: len(spoken)])
    features = list(convert_all(sound.auto_vc, everything, embeddings, target))
    together = np.concatenate(features)
    sound.target_voice.copy_(torch.from_numpy(target))
    sound.feature_mean.copy_(torch.from_numpy(together.mean(axis=0)))
    sound.feature_std.copy_(torch.from_numpy(together.std(axis=0)))
    sound.depth.copy_(torch.from_numpy(open_depth()))
    return [Heard(standardise(sound, feature), voice) for feature, voice in zip(features, embeddings, strict=True)]


def standardise(sound: OpenSound, feature: np.ndarray) -> np.ndarray:
    """Standardise the content feature for the branches."""
    return ((feature - sound.feature_mean.numpy()) / sound.feature_std.numpy()).astype(np.float32)


def measure_sound(sound: OpenSound, tests: list[Spoken], unknown: list) -> dict[str, float]:
    """Measure the values of the card on utterances of held-out voices and on held-out people."""
    said = tests + [item for item, _ in unknown]
    embeddings = embed_all(sound.voice_encoder, said)
    features = convert_all(sound.auto_vc, said, embeddings, sound.target_voice.numpy())
    heard = [Heard(standardise(sound, feature), voice) for feature, voice in zip(features, embeddings, strict=True)]
    motions: list[Motion] = [
        make_motion(own, landmarks) for own, (_, landmarks) in zip(heard[len(tests) :], unknown, strict=True)
    ]
    return {
        **measure_voices(sound.voice_encoder, tests),
        **measure_conversion(sound.auto_vc, tests, embeddings[: len(tests)]),
        **measure_content(sound.content, heard[: len(tests)], tests),
        **measure_speaker(sound.speaker, motions),
    }


def publish_sound(
    sound: OpenSound,
    tests: list[Spoken],
    unknown: list[tuple[Spoken, np.ndarray]],
    facts: dict[str, str],
    output: Path,
) -> None:
    """Write weights in half precision, and the card, measured with them."""
    path, weights = output / OPEN_SOUND_PATH.name, pack_sound(sound)
    save_weights(path, weights)
    figures = measure_sound(unpack_sound(weights, path), tests, unknown)
    write_card(
        path,
        f"""All of MakeItTalk that hears and moves landmarks, for the compared method "MakeItTalk (open weights)": the
voice encoder, AutoVC with {OPEN_AUTO_VC_WIDTH} channels (published: 512), content branch and speaker branch, the
statistics of the content feature, the embedding of the target voice (`{TARGET_NAME}`) and the depths of a standard
face. It shares no weight with the published checkpoints and is no measure of what they can do.""",
        facts,
        f"{len(tests)} utterances of other voices and sentences; the speaker branch: {len(unknown)} other people",
        "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value:.3f} |" for name, value in figures.items()),
        "the truth of the lips is the project's own rule of visemes. Squared errors alone keep the head nearly still",
    )


def publish_image(network: ResidualUNet, unknown: list, facts: dict[str, str], output: Path) -> None:
    """Write weights in half precision, and the card, measured with them."""
    path, weights = output / OPEN_IMAGE_PATH.name, halve_weights(network)
    save_weights(path, weights)
    shipped = ResidualUNet(width=OPEN_IMAGE_WIDTH)
    shipped.load_state_dict(weights)
    figures = measure_image(shipped.eval(), unknown)
    names = list(next(iter(figures.values())))
    rows = [f"| {name} | {' | '.join(f'{value:.2f}' for value in row.values())} |" for name, row in figures.items()]
    write_card(
        path,
        f"""MakeItTalk's image translation with {OPEN_IMAGE_WIDTH} channels (published: 64), for the compared method
"MakeItTalk (open weights)": a drawing of landmarks and a still in, the face in that pose out. It shares no weight with
the published checkpoint and is no measure of what that can do.""",
        facts,
        f"{len(unknown)} other studio people, their first frame the still; errors of 255",
        f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}\n" + "\n".join(rows),
        "studio people only. The loss is L1 without the published one's VGG features, so it paints softly",
    )


def write_card(path: Path, what: str, facts: dict[str, str], measured_on: str, table: str, limits: str) -> None:
    """Write the card beside the weights: contents, training and evaluation."""
    made = "\n".join(f"- {name}: {value}" for name, value in facts.items())
    text = f"""# {path.name}

{what}

- Made by: `python -m training.render_speakers`, then `python -m training.train_make_it_talk`
{made}
- Machine: {describe_machine()}

Measured with the weights as shipped, on {measured_on}:

{table}

Limits: {limits}.

{describe_licence(*SOURCES)}"""
    with atomic_path(path.with_suffix(".md")) as temporary:
        temporary.write_text(text, "utf-8")
    print(text)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, required=True)
    parser.add_argument("--utterances", type=int, default=700, help="spoken besides what the people say")
    parser.add_argument("--test-utterances", type=int, default=42, help="of voices for tests alone")
    parser.add_argument("--voice-steps", type=int, default=600)
    parser.add_argument("--vc-steps", type=int, default=5000)
    parser.add_argument("--content-steps", type=int, default=4000)
    parser.add_argument("--speaker-steps", type=int, default=800)
    parser.add_argument("--image-steps", type=int, default=1500)
    parser.add_argument("--image-start", type=Path, help="image translation of an earlier run, its card beside it")
    parser.add_argument("--workers", type=int, default=2, help="processes that speak")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=OPEN_SOUND_PATH.parent)
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    shop = Workshop(arguments)
    known, unknown = load_speakers(arguments.speakers, load_speaker)
    sound, learnt = train_sound(shop, arguments, known)
    minutes = ", ".join(f"{name.replace('_', ' ')} {value:.0f}" for name, value in shop.minutes.items())
    facts = {
        "Learnt from": learnt,
        RUNS: f"{arguments.voice_steps} steps of {VOICES * PIECES} pieces (voice encoder), {arguments.vc_steps} "
        f"of {CROPS} pieces of 2 s (AutoVC), {arguments.content_steps} of {WINDOWS} windows (content branch), "
        f"{arguments.speaker_steps} of one person (speaker branch); seed {arguments.seed}",
        "Minutes": minutes,
    }
    key = shop.key(make_it_talk_speech, arguments.test_utterances, arguments.seed, "tests")
    speak = partial(make_utterances, arguments.test_utterances, arguments.seed + 1, arguments.workers, for_test=True)
    publish_sound(sound, shop.speak("tests", key, speak), unknown, facts, arguments.output)
    known, unknown = load_speakers(arguments.speakers, load_person)
    image, start, earlier = ResidualUNet(width=OPEN_IMAGE_WIDTH), None, ""
    if arguments.image_start:
        start = load_weights(arguments.image_start, "Leave --image-start out.")
        earlier = read_runs(arguments.image_start) + "; then "
    key = shop.key(train_make_it_talk_image, arguments.image_steps, arguments.seed, earlier)
    shop.train("image", key, image, partial(train_image, known, arguments.image_steps, arguments.seed, start))
    facts = {
        "Learnt from": f"{len(known)} random studio people, {sum(len(person.codes) for person in known)} frames",
        RUNS: f"{earlier}{arguments.image_steps} steps of {BATCH} frames, seed {arguments.seed}, "
        f"{shop.minutes['image']:.0f} minutes",
    }
    publish_image(image, unknown, facts, arguments.output)


if __name__ == "__main__":
    main()
