"""Plots of curves over time or over steps: pure `plot_*` functions that take arrays and return a Figure."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import cast

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metatalk_lib.speech.mel_spectrogram import COLUMNS_PER_S, compute_mel_spectrogram
from metatalk_lib.tracking.landmarks import LandmarkTrack, mouth_opening
from metatalk_lib.visualization.pictures import subplots


def plot_mfcc_blocks(mfcc: Float[np.ndarray, "T 28 12"], frames: Sequence[int], *, fps: Fraction | float) -> Figure:
    """Plot AT-net's input at a few frames: time to the right, coefficient upwards, one colour scale.

    Args:
        mfcc: all MFCC blocks of an utterance.
        frames: frames to show.
        fps: frame rate, Hz.
    """
    figure, axes = subplots(
        1, len(frames), figsize=(2.2 * len(frames), 2.8), sharey=True, squeeze=False, layout="constrained"
    )
    limit = float(np.abs(mfcc[list(frames)]).max())
    for ax, frame in zip(axes[0], frames, strict=True):
        image = ax.imshow(
            mfcc[frame].T,
            origin="lower",
            aspect="auto",
            cmap="RdBu_r",
            vmin=-limit,
            vmax=limit,
            extent=(-120, 160, 0.5, 12.5),
        )
        ax.set_title(f"frame {frame}, {frame / float(fps):.2f} s", fontsize=9)
    axes[0, 0].set_ylabel("MFCC coefficient")
    figure.supxlabel("time to the frame, ms", fontsize=10)
    figure.colorbar(image, ax=axes[0].tolist(), label="value")
    return figure


def plot_audio_features(
    samples: Float[np.ndarray, " S"], features: Float[np.ndarray, "T 256"], *, fps: Fraction | float
) -> Figure:
    """Plot the waveform above the audio features of every frame.

    Args:
        samples: mono sound at 16 kHz.
        features: one row per frame; colours range from 0 to the 99th percentile, features are in order of their first
            peak.
        fps: frame rate, Hz.
    """
    figure, (wave_ax, map_ax) = subplots(2, 1, figsize=(10, 4.2), sharex=True, height_ratios=(1, 3), layout="tight")
    wave_ax.plot(np.arange(len(samples)) / 16000, samples, color="0.35", linewidth=0.4)
    wave_ax.set_ylabel("sound")
    order = np.argsort(features.argmax(axis=0), kind="stable")
    top = max(float(np.percentile(features, 99)), 1e-6)
    extent = (0, len(features) / float(fps), 0, features.shape[1])
    map_ax.imshow(features[:, order].T, origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=top, extent=extent)
    map_ax.set_ylabel("feature, by time of its peak")
    map_ax.set_xlabel("time, s")
    return figure


def plot_training_curve(
    training: Sequence[float], held_out: Sequence[float], *, best_epoch: int, baseline: float, unit: str
) -> Figure:
    """Plot training and held-out loss over epochs, the kept epoch, and the loss of the constant mean.

    Args:
        training: training loss of each epoch, from epoch 0.
        held_out: held-out loss of each epoch.
        best_epoch: epoch whose weights were kept.
        baseline: held-out loss of the constant prediction of the training mean.
        unit: unit of the loss.
    """
    figure, ax = subplots(figsize=(7, 3.2), layout="tight")
    ax.plot(training, color="tab:blue", label="training")
    ax.plot(held_out, color="tab:orange", label="held out")
    ax.axhline(baseline, color="0.5", linestyle="--", label="held out, always the mean")
    ax.plot(best_epoch, held_out[best_epoch], "o", color="tab:orange", markerfacecolor="none", label="kept")
    _start_at_zero(ax)
    ax.set_xlabel("epoch (0 is the closed-form start)")
    ax.set_ylabel(f"mean squared error, {unit}")
    ax.legend(fontsize=8)
    return figure


def plot_curves(
    curves: Mapping[str, Float[np.ndarray, " T"]],
    *,
    fps: Fraction | float,
    label: str,
    shaded: Bool[np.ndarray, " T"] | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Plot named curves over time, in the given order; the first one is the reference, drawn thick and grey.

    Args:
        curves: name to values of every frame.
        fps: frame rate, Hz.
        label: label of the vertical axis, with its unit.
        shaded: frames with a grey background, such as silence.
        ax: axes to draw on; a new figure by default.
    """
    if ax is None:
        _, ax = subplots(figsize=(10, 2.8), layout="tight")
    for index, (name, values) in enumerate(curves.items()):
        style = {"color": "0.6", "linewidth": 3.0} if index == 0 else {"linewidth": 1.2}
        ax.plot(np.arange(len(values)) / float(fps), values, label=name, **style)
    if shaded is not None:
        times = np.arange(len(shaded)) / float(fps)
        ax.fill_between(
            times, 0, 1, where=shaded, transform=ax.get_xaxis_transform(), color="0.9", step="mid", zorder=0
        )
    ax.set_xlabel("time, s")
    ax.set_ylabel(label)
    ax.legend(fontsize=8, loc="upper right")
    return cast(Figure, ax.figure)


def plot_pose(
    rotation: Float[np.ndarray, "T 3"], translation: Float[np.ndarray, "T 3"], *, fps: Fraction | float
) -> Figure:
    """Plot rotation (degrees) and translation (decimetres relative to their mean) over time.

    Args:
        rotation: rotation angles about x, y, z, radians.
        translation: translation, decimetres.
        fps: frame rate, Hz.
    """
    figure, axes = subplots(2, 1, figsize=(10, 4), sharex=True, layout="tight")
    seconds = np.arange(len(rotation)) / float(fps)
    for axis, name in enumerate(("x (nod)", "y (turn)", "z (tilt)")):
        axes[0].plot(seconds, np.rad2deg(rotation[:, axis]), label=name, linewidth=1.2)
    for axis, name in enumerate(("x (right)", "y (up)", "z (nearer)")):
        axes[1].plot(seconds, translation[:, axis] - translation[:, axis].mean(), label=name, linewidth=1.2)
    axes[0].set_ylabel("rotation, °")
    axes[1].set(ylabel="translation, dm", xlabel="time, s")
    for ax in axes:
        ax.legend(fontsize=8, loc="upper right")
    return figure


def plot_expression_curves(expression: Float[np.ndarray, "T 64"], *, fps: Fraction | float, count: int = 8) -> Figure:
    """Plot the expression modes that vary most over a clip, in order of their number, on one common scale.

    Args:
        expression: expression coefficients, standard deviations.
        fps: frame rate, Hz.
        count: number of modes to show.
    """
    modes = np.sort(np.argsort(-expression.std(axis=0), kind="stable")[:count])
    figure, ax = subplots(figsize=(10, 4), layout="tight")
    step = 2 * float(np.percentile(np.abs(expression[:, modes]), 99)) or 1.0
    seconds = np.arange(len(expression)) / float(fps)
    for place, mode in enumerate(modes):
        ax.axhline(-place * step, color="0.9", linewidth=0.8)
        ax.plot(seconds, expression[:, mode] - place * step, linewidth=1.2)
    ax.set_yticks([-place * step for place in range(len(modes))], [f"mode {mode}" for mode in modes])
    ax.set(xlabel="time, s", ylabel=f"expression, one row is {step:.1f} σ")
    return figure


def plot_speech(
    samples: Float[np.ndarray, " S"], rate: int, phonemes: Sequence[tuple[str, float, float]], *, ax: Axes | None = None
) -> Figure:
    """Plot the waveform with its phonemes in IPA, one shade per interval.

    Args:
        samples: mono sound, in [-1, 1].
        rate: sampling rate, Hz.
        phonemes: (symbol, start, end), times in s.
        ax: axes to draw on; a new figure by default.
    """
    if ax is None:
        _, ax = subplots(figsize=(11, 2.4), layout="tight")
    ax.plot(np.arange(len(samples)) / rate, samples, color="0.35", linewidth=0.4)
    for index, (symbol, start_s, end_s) in enumerate(phonemes):
        ax.axvspan(start_s, end_s, color="tab:blue", alpha=0.08 + 0.12 * (index % 2), linewidth=0)
        ax.text((start_s + end_s) / 2, 1.02, symbol, transform=ax.get_xaxis_transform(), ha="center", fontsize=8)
    ax.set_xlim(0, len(samples) / rate)
    ax.set_xlabel("time, s")
    ax.set_ylabel("sound pressure, of full scale")
    return cast(Figure, ax.figure)


def plot_renderer_history(history: Mapping[str, Sequence[int] | Sequence[float]]) -> Figure:
    """Plot the losses of the neural face renderer over the steps: reconstruction, generator and discriminator.

    Args:
        history: lists `step`, `reconstruction` (in units of the pixel range [-1, 1]), `adversarial`, `discriminator`.
    """
    figure, (left_ax, right_ax) = subplots(1, 2, figsize=(10, 3), layout="tight")
    steps = history["step"]
    left_ax.plot(steps, 127.5 * np.asarray(history["reconstruction"]), color="tab:blue")
    left_ax.set_ylabel("mean absolute error in the mask, of 255")
    _start_at_zero(left_ax)
    right_ax.plot(steps, history["adversarial"], color="tab:orange", label="generator, to fool")
    right_ax.plot(steps, history["discriminator"], color="tab:green", label="discriminator, to tell")
    right_ax.set_ylabel("cross entropy, nat")
    right_ax.legend(fontsize=8)
    for ax in (left_ax, right_ax):
        ax.set_xlabel("step")
    return figure


def plot_landmark_motion(track: LandmarkTrack, fps: Fraction) -> Figure:
    """Plot mouth opening and head motion over time, as predicted and smoothed; bridged frames are shaded."""
    figure, axes = subplots(2, 1, figsize=(10, 4.5), sharex=True, layout="constrained")
    seconds = track.frame_id / float(fps)
    for points, label, style in ((track.raw_landmarks, "predicted", "0.65"), (track.landmarks, "smoothed", "tab:blue")):
        axes[0].plot(seconds, mouth_opening(points), color=style, linewidth=1, label=label)
        axes[1].plot(seconds, points[:, 30, 0] - points[0, 30, 0], color=style, linewidth=1)
        axes[1].plot(seconds, points[:, 30, 1] - points[0, 30, 1], color=style, linewidth=1, linestyle="--")
    for axis in axes:
        axis.fill_between(
            seconds, 0, 1, where=~track.detected, transform=axis.get_xaxis_transform(), color="tab:red", alpha=0.3
        )
    axes[0].set(ylabel="mouth opening, px")
    axes[0].legend(loc="upper right")
    axes[1].set(ylabel="nose tip x (full), y (dashed), px", xlabel="time, s")
    return figure


def plot_mel_spectrogram(samples_16k: Float[np.ndarray, " S"], *, ax: Axes | None = None) -> Figure:
    """Plot Wav2Lip's mel spectrogram of a recording.

    Args:
        samples_16k: mono sound at 16 kHz.
        ax: axes to draw on; a new figure by default.
    """
    if ax is None:
        _, ax = subplots(figsize=(11, 2.4), layout="tight")
    mel = compute_mel_spectrogram(samples_16k)
    extent = (0, mel.shape[1] / COLUMNS_PER_S, 0, len(mel))
    ax.imshow(mel, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-4, vmax=4)
    ax.set(xlabel="time, s", ylabel="mel band")
    return cast(Figure, ax.figure)


def plot_lead(
    leads_s: Float[np.ndarray, " K"],
    correlations: Float[np.ndarray, " K"],
    *,
    lead_s: float,
    chance: float,
    is_measured: bool = True,
    ax: Axes | None = None,
) -> Figure:
    """Plot the correlation of heard and seen mouth opening at each lead, the chance level, and the chosen lead.

    Args:
        leads_s: leads that were tried, s.
        correlations: correlation of heard and seen mouth opening at each.
        lead_s: the chosen lead, s.
        chance: 95th percentile of the best correlation with shifted sound.
        is_measured: False where nothing could be measured, and `lead_s` is the default.
        ax: axes to draw on; a new figure by default.
    """
    if ax is None:
        _, ax = subplots(figsize=(6, 2.8), layout="tight")
    ax.plot(1000 * leads_s, correlations, marker="o", markersize=3, label="heard against seen")
    ax.axhline(chance, color="0.6", linestyle=":", label="95th percentile of shifted sound")
    name = "chosen" if is_measured else "default, as nothing can be measured"
    ax.axvline(1000 * lead_s, color="tab:orange", label=f"{name}: {1000 * lead_s:.0f} ms")
    ax.set(xlabel="lead of the lips, ms", ylabel="correlation of mouth opening")
    ax.legend(fontsize=8)
    return cast(Figure, ax.figure)


def _start_at_zero(ax: Axes) -> None:
    """Set the y axis from 0 to slightly above the highest curve, however flat the curves are."""
    ax.set_ylim(0, 1.05 * ax.dataLim.y1)
