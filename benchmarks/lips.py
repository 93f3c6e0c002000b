"""Speech to lips: studio truth, recorded voices, real clips, voices against each other, silence, music, speed, goldens.

    python -m benchmarks.lips [--clips FOLDER]

One A2E network for each lead is trained on five minutes of the viseme teacher's speech; all values come from
`talk.predict_speech`, as in finished videos. Needs Flite and Festival with the held-out voices (training/README.md).
"""

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmarks.lip_speaker import (
    FPS,
    face,
    lip_positions,
    make_pairs,
    opening_of,
    speak,
    to_expression,
    trained,
)
from benchmarks.real_lips import CLIPS, real_rows
from benchmarks.report import Row, finish
from metatalk_lib.audio_to_expression.model import load_a2e
from metatalk_lib.audio_to_expression.streaming import predict_speech
from metatalk_lib.audio_to_expression.training import train_a2e
from metatalk_lib.core.notebook_runner import run_character
from metatalk_lib.core.params import character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import PROJECT_ROOT, STAGES
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.media.audio import Audio, read_audio, to_mono_16k
from metatalk_lib.metrics.correlation import correlation
from metatalk_lib.metrics.mouth_opening_sync import compute_sync
from metatalk_lib.reconstruction.lip_curves import compute_lip_curves, compute_r2
from metatalk_lib.speech.phoneme_recognition import recognise_phonemes
from metatalk_lib.speech.recorded_voices import HELD_OUT_RECORDED, RECORDED_VOICES, synthesize_recorded
from metatalk_lib.speech.sentences import HELD_OUT_SENTENCES, SENTENCES, STUDIO_SENTENCES
from metatalk_lib.speech.silence import find_silence
from metatalk_lib.speech.synthesis import Speech, pad_with_pauses, synthesize
from metatalk_lib.speech.visemes import viseme_curves
from metatalk_lib.speech.words import draw_text
from metatalk_lib.studio.character_definitions import STUDIO_CHARACTERS
from metatalk_lib.studio.performance import write_script

REAL = PROJECT_ROOT.parent / "shared" / "real"
UNSEEN_VOICES = ("en-us+Alex", "en-us+linda", "en-gb+steph", "en-us+Denis", "en-us+belinda", "en-us+max", "en-gb+adam")
"""Voices used neither in the encoder's training nor in a teacher's corpus, one for each studio character."""
STUDIO_SECONDS = 10.0
EIGHT_VOICES = (
    "en-us",
    "en-us+f2",
    "en-us+m7",
    "en-us+Annie",
    "en-us+Alex",
    "en-us+linda",
    "en-us+Denis",
    "en-us+belinda",
)
"""Two training voices of the encoder, two of its held-out voices, and four unseen voices."""
RECORDED_ENGLISH = ("awb", "rms", "slt", "kal_diphone")
RECOGNISED = 8
"""Number of sentences of each voice in the recogniser's measurement."""


def studio_rows() -> list[Row]:
    """Measure seven characters saying their sentences with unseen voices, against the studio's ground truth."""
    scores = {name: [] for name in ("R2", "r", "lag", "audiodvp R2", "shuffled r", "reversed R2")}
    for character, voice in zip((STUDIO_CHARACTERS[name] for name in "ABCDEFG"), UNSEEN_VOICES, strict=True):
        fps = Fraction(character.fps)
        speech = write_script(replace(character, voice=voice), STUDIO_SECONDS, 7)
        frames = round(STUDIO_SECONDS * fps)
        style = {"jaw": character.speech_jaw, "lips": character.speech_lips, "strength": character.speech_strength}
        truth = to_expression(viseme_curves(speech.phonemes, frames, fps, **style))
        own = speak(speech.audio, trained(fps), fps)
        other = speak(speech.audio, trained(fps, architecture="audiodvp"), fps)
        seen = lip_positions(truth)
        sync = compute_sync(own.opening, opening_of(truth))
        scores["R2"].append(compute_r2(lip_positions(own.expression), seen))
        scores["audiodvp R2"].append(compute_r2(lip_positions(other.expression), seen))
        scores["reversed R2"].append(compute_r2(lip_positions(own.expression[::-1]), seen))
        scores["r"].append(sync.correlation)
        scores["lag"].append(abs(sync.best_lag))
        scores["shuffled r"].append(correlation(np.roll(own.opening, frames // 2), opening_of(truth)))
    mean = {name: float(np.mean(values)) for name, values in scores.items()}
    return [
        Row("studio A to G, unseen voices: R2 of the lips' vertices, mean", mean["R2"], "", ">=", 0.75),
        Row("studio: mouth opening at zero lag, r, mean", mean["r"], "", ">=", 0.90),
        Row("studio: largest best lag", float(max(scores["lag"])), "frames", "<=", 1),
        Row("studio: R2, worst character", min(scores["R2"]), "", None, None),
        Row("studio: r, worst character", min(scores["r"]), "", None, None),
        Row("studio: R2 with AudioDVP's A2E", mean["audiodvp R2"], "", None, None),
        Row("studio: R2, audio reversed (cheat)", mean["reversed R2"], "", ">=", 0.75, is_cheat=True),
        Row("studio: r, audio turned round (cheat)", mean["shuffled r"], "", ">=", 0.90, is_cheat=True),
    ]


def recorded_rows() -> list[Row]:
    """Measure unseen voices of people, with their synthesiser's segment times as ground truth."""
    rows, generator = [], np.random.default_rng(11)
    for voice in HELD_OUT_RECORDED:
        language, produced, truth = RECORDED_VOICES[voice].language, [], []
        for text in HELD_OUT_SENTENCES:
            text = text if language == "en" else draw_text(language, generator)
            speech = pad_with_pauses(synthesize_recorded(text, voice), 0.3, 0.3)
            produced.append(speak(speech.audio, trained()).opening)
            truth.append(opening_of(to_expression(viseme_curves(speech.phonemes, len(produced[-1]), FPS))))
        produced, truth = np.concatenate(produced), np.concatenate(truth)
        name = f"recorded voice {voice} ({language}), never trained on: mouth opening, r"
        rows.append(Row(name, correlation(produced, truth), "", ">=", 0.75))
        turned = correlation(np.roll(produced, len(produced) // 2), truth)
        rows.append(Row(f"recorded voice {voice}: audio turned round (cheat)", turned, "", ">=", 0.75, is_cheat=True))
    return rows


def recogniser_rows() -> list[Row]:
    """Compare recognised phonemes of recorded voices with the synthesiser's, by the mouth opening of their visemes."""
    rows, generator = [], np.random.default_rng(11)
    for voice in HELD_OUT_RECORDED:
        language = RECORDED_VOICES[voice].language
        ways = {"told the words": {}, "hearing words": {}, "hearing phones": {"method": "phones"}}
        if language != "en":
            ways.pop("told the words")
        curves = {way: [] for way in (*ways, "truth")}
        for text in HELD_OUT_SENTENCES[:RECOGNISED]:
            text = text if language == "en" else draw_text(language, generator)
            speech = pad_with_pauses(synthesize_recorded(text, voice), 0.3, 0.3)
            frames, samples = round(speech.duration_s * FPS), to_mono_16k(speech.audio)
            found = {
                way: recognise_phonemes(samples, transcript=text if way.startswith("told") else "", **options)
                for way, options in ways.items()
            }
            for way, phonemes in (found | {"truth": speech.phonemes}).items():
                curves[way].append(opening_of(to_expression(viseme_curves(phonemes, frames, FPS))))
        truth = np.concatenate(curves.pop("truth"))
        for way, parts in curves.items():
            name = f"recogniser on {voice} ({language}), {way}: r"
            rows.append(Row(name, correlation(np.concatenate(parts), truth), "", None, None))
    return rows


def pipeline_rows() -> list[Row]:
    """Measure character A's A2E from stages 02 to 04, trained on fits of the demo's minute of pseudo video."""
    outputs = PROJECT_ROOT / "outputs" / "bench" / "lips"
    files = character_params_path("A"), profile_params_path("demo")
    config = load_params(*files, overrides={"outputs_dir": str(outputs)})
    run_character(config, STAGES[:4])
    folder = outputs / "A"
    identity = Coefficients.load(folder / "03_reconstruction" / "coefficients.npz").identity
    produced, truth = [], []
    for text in STUDIO_SENTENCES["B"]:
        speech = pad_with_pauses(synthesize(text, UNSEEN_VOICES[0]), 0.3, 0.3)
        expression, _ = predict_speech(speech.audio, FPS, load_a2e(folder / "04_audio_to_expression"))
        produced.append(compute_lip_curves(face(), identity, expression).opening_mm)
        truth.append(opening_of(to_expression(viseme_curves(speech.phonemes, len(produced[-1]), FPS))))
    sync = compute_sync(np.concatenate(produced), np.concatenate(truth))
    return [
        Row("A by stages 02 to 04, unseen sentences and voice: r", sync.correlation, "", None, None),
        Row("A by stages 02 to 04: best lag", sync.best_lag, "frames", None, None),
    ]


def voice_rows() -> list[Row]:
    """Compare predicted curves of one sentence in many voices, aligned in time by the true curves.

    The eight synthetic voices say the same phonemes. The recorded voices have other dictionaries, so their true curves
    differ, too; they are reported separately.
    """
    text = HELD_OUT_SENTENCES[3]
    groups = {
        "eight synthetic voices": [synthesize(text, voice) for voice in EIGHT_VOICES],
        "four recorded voices": [synthesize_recorded(text, voice) for voice in RECORDED_ENGLISH],
    }
    groups["all twelve voices"] = [*groups["eight synthetic voices"], *groups["four recorded voices"]]
    rows = []
    for name, spoken in groups.items():
        own, ceiling, cheat = compare_voices([pad_with_pauses(speech, 0.3, 0.3) for speech in spoken])
        bar = (">=", 0.9) if name.startswith("eight") else (None, None)
        rows.append(Row(f"one sentence, {name}: pairwise r, mean", own, "", *bar))
        rows.append(Row(f"one sentence, {name}: r of the truth's own curves", ceiling, "", None, None))
        if name.startswith("eight"):
            rows.append(Row(f"one sentence, {name}: one of each pair reversed (cheat)", cheat, "", *bar, is_cheat=True))
    return rows


def compare_voices(spoken: Sequence[Speech]) -> tuple[float, float, float]:
    """Mean pairwise r of the predicted openings, of the true ones, and with one of each pair reversed in time."""
    produced = [speak(speech.audio, trained()).opening for speech in spoken]
    truth = [viseme_curves(speech.phonemes, len(own), FPS) for speech, own in zip(spoken, produced, strict=True)]
    openings = [opening_of(to_expression(item)) for item in truth]
    scores = []
    for a, b in itertools.combinations(range(len(spoken)), 2):
        left, right = align_in_time(truth[a], truth[b])
        pairs = ((produced[a], produced[b]), (openings[a], openings[b]), (produced[a], produced[b][::-1]))
        scores.append([correlation(first[left], second[right]) for first, second in pairs])
    return tuple(np.mean(scores, axis=0).tolist())


def align_in_time(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames of two sequences that belong together: dynamic time warping on the Euclidean distance of their rows."""
    cost = np.linalg.norm(first[:, None] - second[None], axis=2)
    total = np.full((len(first) + 1, len(second) + 1), np.inf)
    total[0, 0] = 0
    for i, j in itertools.product(range(len(first)), range(len(second))):
        total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    path, i, j = [], len(first), len(second)
    while i and j:
        path.append((i - 1, j - 1))
        before = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(before, key=lambda place: total[place])
    return tuple(np.array(path[::-1]).T)


def silence_rows() -> list[Row]:
    """Measure sentences with 0.8 s of silence between them: the mouth in the pauses, and when it opens and closes."""
    parts = [pad_with_pauses(synthesize(text, UNSEEN_VOICES[0]), 0.4, 0.4) for text in HELD_OUT_SENTENCES[:4]]
    samples = np.concatenate([part.samples for part in parts])
    audio = Audio(samples[:, None], parts[0].rate)
    hiss = 10 ** (-30 / 20) * samples.std() * np.random.default_rng(0).normal(size=audio.samples.shape)
    spoken = speak(audio, trained()).opening
    noisy = speak(Audio((audio.samples + hiss).astype(np.float32), audio.rate), trained()).opening
    silent = find_silence(to_mono_16k(audio), len(spoken), FPS)
    inner = np.convolve(silent, np.ones(7), mode="same") == 7
    truth = np.concatenate([true_opening(part) for part in parts])[: len(spoken)]
    share, noisy_share, true_share = (opening_share(curve) for curve in (spoken, noisy, truth))
    edges = find_edges(share), find_edges(true_share)
    return [
        Row("silence of 0.8 s: largest opening, share of its range", float(share[inner].max()), "", "<=", 0.05),
        Row(
            "speech: mean opening, share of its range (cheat)",
            float(share[~silent].mean()),
            "",
            "<=",
            0.05,
            is_cheat=True,
        ),
        Row("pauses with noise 30 dB below the speech: mean opening", float(noisy_share[inner].mean()), "", None, None),
        Row("mouth opens and closes at pauses: mean error", edge_error(*edges), "frames", "<=", 1.5),
        Row(
            "the same, sound 0.2 s late (cheat)", edge_error(edges[0] + 5, edges[1]), "frames", "<=", 1.5, is_cheat=True
        ),
    ]


def true_opening(speech: Speech) -> np.ndarray:
    """Compute the viseme teacher's mouth opening, mm."""
    return opening_of(to_expression(viseme_curves(speech.phonemes, round(speech.duration_s * FPS), FPS)))


def opening_share(opening: np.ndarray) -> np.ndarray:
    """Opening over that of the closed mouth, as a share of its largest values."""
    closed = float(opening_of(np.zeros((1, 64), np.float32))[0])
    return (opening - closed) / (np.percentile(opening, 99) - closed)


def find_edges(share: np.ndarray, *, least: float = 0.1, pause: int = 15) -> np.ndarray:
    """Frames at which the mouth closes for, or opens after, at least `pause` frames with less than `least` opening."""
    runs = np.flatnonzero(np.diff(np.pad((share <= least).astype(int), 1))).reshape(-1, 2)
    long = runs[runs[:, 1] - runs[:, 0] >= pause]
    return np.setdiff1d(long, (0, len(share)))


def edge_error(found: np.ndarray, true: np.ndarray) -> float:
    """Mean distance of each true edge from the nearest found one, frames; infinite where as many are not found."""
    if len(found) != len(true):
        return float("inf")
    return float(np.abs(found[None] - true[:, None]).min(axis=1).mean())


def other_sound_rows(folder: Path) -> list[Row]:
    """Chinese speech runs and moves the lips; music mostly leaves them closed."""
    rows, a2e = [], trained()
    reference = speak(pad_with_pauses(synthesize(SENTENCES[0], UNSEEN_VOICES[0]), 0.3, 0.3).audio, a2e).opening
    closed, size = reference.min(), np.percentile(reference, 95) - reference.min()
    if (folder / "speech_zh.wav").exists():
        chinese = speak(read_audio(folder / "speech_zh.wav"), a2e).opening
        share = float(chinese.std() / reference.std())
        rows.append(Row("Chinese speech: deviation of the opening, share of English", share, "", ">=", 0.3))
    music = speak(Audio(play_music(8.0)[:, None], 16000), a2e).opening
    shares = [float((opening > closed + size / 4).mean()) for opening in (music, reference)]
    return [
        *rows,
        Row("music: share of frames with the mouth a quarter open", shares[0], "", "<=", 0.3),
        Row("speech: the same (cheat)", shares[1], "", "<=", 0.3, is_cheat=True),
    ]


def play_music(seconds: float) -> np.ndarray:
    """A melody with vibrato over a bass and a drum; not of the family that the encoder was trained with."""
    time_s = np.arange(round(16000 * seconds)) / 16000
    generator = np.random.default_rng(5)
    notes = np.repeat(generator.integers(0, 13, round(seconds / 0.25) + 1), 4000)[: len(time_s)]
    vibrato = 1 + 0.01 * np.sin(2 * np.pi * 5.5 * time_s)
    phase = 2 * np.pi * np.cumsum(330 * 2 ** (notes / 12) * vibrato) / 16000
    melody = np.sign(np.sin(phase)) * 0.15 + 0.2 * np.sin(phase)
    bass = 0.25 * ((np.cumsum(55 * 2 ** (notes // 5 / 12)) / 16000) % 1 - 0.5)
    drum = generator.normal(size=len(time_s)) * np.exp(-25 * (time_s % 0.5)) * 0.3
    return (melody + bass + drum).astype(np.float32)


def speed_rows() -> list[Row]:
    """Training on five minutes of pairs, and everything from sound to expression, on two threads."""
    torch.set_num_threads(2)
    pairs = make_pairs(FPS, 0.0)
    started = time.perf_counter()
    train_a2e(*pairs)
    training_s = time.perf_counter() - started
    sound = Audio(np.random.default_rng(0).normal(scale=0.1, size=(60 * 16000, 1)).astype(np.float32), 16000)
    a2e, times = trained(), []
    for _ in range(3):
        started = time.perf_counter()
        frames = len(predict_speech(sound, FPS, a2e)[0])
        times.append(time.perf_counter() - started)
    torch.set_num_threads(1)
    return [
        Row("A2E training on 5 minutes of pairs", training_s, "s", "<=", 60),
        Row("from sound to expression", frames / float(np.median(times)), "fps", ">=", 500),
    ]


GOLDENS = (
    *("networks/test_audio_networks.py", "networks/test_wav2lip.py", "pseudo_video/test_wav2lip_teacher.py"),
    *("speech/test_audio_encoder.py", "speech/test_mel_spectrogram.py", "speech/test_mfcc.py"),
)


def golden_rows() -> list[Row]:
    """The tests that compare networks and front ends with the goldens: all must pass."""
    files = [str(PROJECT_ROOT / "tests" / name) for name in GOLDENS]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "golden", *files], cwd=PROJECT_ROOT, capture_output=True, text=True
    )
    print(run.stdout[-300:], run.stderr[-300:])
    return [Row("goldens of networks and front ends: failed test runs", float(run.returncode != 0), "", "<=", 0)]


def main() -> None:
    """Run the benchmark and exit with 1 when a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=REAL, help=f"folder with {' and '.join(CLIPS)}")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = studio_rows() + recorded_rows() + recogniser_rows() + voice_rows()
    rows += silence_rows() + other_sound_rows(arguments.clips)
    if all((arguments.clips / name).exists() for name in CLIPS):
        rows += real_rows(arguments.clips)
    else:
        print(f"no real clips: {arguments.clips} does not hold {' and '.join(CLIPS)}; name a folder with --clips")
    rows += pipeline_rows() + speed_rows() + golden_rows()
    sys.exit(finish("lips", rows))


if __name__ == "__main__":
    main()
