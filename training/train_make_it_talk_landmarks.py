"""Training of MakeItTalk's landmark networks: the content branch and the speaker branch.

The output of window i is the displacement at its first step i, as in the published training, and frame i at 62.5 fps
shows the instant of step i. So both branches learn the motion at the first step of each window, with 0.27 s look-ahead.
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from metatalk_lib.baselines.make_it_talk import VOICE_GAIN
from metatalk_lib.baselines.make_it_talk_audio import STEPS_PER_S, cut_windows
from metatalk_lib.baselines.make_it_talk_landmarks import FACE_DEPTH, FACE_WIDTH_POINTS, LIP_GAIN, find_frame
from metatalk_lib.baselines.make_it_talk_weights import open_depth
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.frame_order import ping_pong
from metatalk_lib.networks.make_it_talk import MAX_WINDOWS, NOISE_SIZE, WINDOW_STEPS, ContentBranch, SpeakerBranch
from metatalk_lib.tracking.landmarks import mouth_opening
from training.make_it_talk_speech import Spoken
from training.precision import low_precision
from training.render_speakers import TURN_SIGMA
from training.train_make_it_talk_sound import Heard, optimise

WINDOWS = 128
"""Windows in one training step of the content branch."""
LIP_WEIGHT = 4.0
"""Weight of errors of the lips relative to the rest of the face."""
LIP_UNIT, HEAD_UNIT = 0.01, 0.06
"""Typical motion of lips and head in the networks' units; in training, the branches predict multiples of it."""
FORGET_BIAS = 1.0
"""Initial bias of the LSTMs' forget gates, since the last step's output must predict the window's first step."""
DROPOUT = 0.1
"""Dropout between the LSTM layers; the published value is 0.5, for longer trainings."""
LAGS = range(-6, 7)
"""Lags between the card's curves, steps."""


class FaceMover:
    """Landmarks of random faces in the networks' space, at rest and under facial actions."""

    def __init__(self) -> None:
        model = load_face_model()
        self.mean, self.identity_basis, expression_basis = model.landmark_bases()
        self.action_basis = np.tensordot(model.actions_to_expression.numpy(), expression_basis, axes=1)
        self.depth = FACE_DEPTH * open_depth()

    def draw(self, actions: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw faces (B, 68, 3) of random identities, slightly turned, with their displacements by the actions."""
        identity = generator.standard_normal((len(actions), len(self.identity_basis)))
        turns = Rotation.from_euler("xyz", generator.normal(0, TURN_SIGMA, (len(actions), 3))).as_matrix()
        return self.place(self.mean + np.tensordot(identity, self.identity_basis, axes=1), actions, turns)

    def place(self, neutral: np.ndarray, actions: np.ndarray, turns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert faces (B, 68, 3) in model space, with their displacements by the actions (B, 52)."""
        turned = neutral @ turns.transpose(0, 2, 1)
        moved = np.tensordot(actions, self.action_basis, axes=1) @ turns.transpose(0, 2, 1)
        low, high = turned[:, 0], turned[:, 16]
        scale = (FACE_WIDTH_POINTS / (high[:, 0] - low[:, 0]))[:, None, None]
        faces = (turned - 0.5 * (low + high)[:, None]) * scale * (1, -1, 1)
        faces[..., 2] = self.depth
        return faces, moved * scale * (1, -1, FACE_DEPTH)


class Motion(NamedTuple):
    """A person who speaks.

    Attributes:
        heard: content feature and voice.
        displacement: (W, 204) displacement from the person's mean face at the first step of each window.
    """

    heard: Heard
    displacement: np.ndarray


def train_content(heard: list[Heard], utterances: list[Spoken], steps: int, seed: int) -> ContentBranch:
    """Train the lips of random faces from the content feature, on squared errors with extra weight on the lips.

    The published pipeline doubles the predicted motion of the mouth. So the branch learns half of the motion, and the
    pipeline shows it at its true size.
    """
    torch.manual_seed(seed)
    network, mover, generator = ContentBranch(), FaceMover(), np.random.default_rng([seed, 3])
    _set_memory(network.bilstm)
    _scale(network.fc[-1], 0.0)
    features = np.concatenate([item.feature for item in heard])
    actions = np.concatenate([item.actions for item in utterances])
    lengths = np.array([len(item.feature) for item in heard])
    begins = np.cumsum(lengths) - lengths
    starts = np.concatenate([b + np.arange(n - WINDOW_STEPS) for b, n in zip(begins, lengths, strict=True)])
    gains, weights = np.ones((68, 3)), torch.ones(68, 3)
    gains[48:, :2], weights[48:] = 1 / LIP_GAIN, LIP_GAIN * LIP_WEIGHT**0.5

    def draw_loss() -> Tensor:
        rows = starts[generator.integers(len(starts), size=WINDOWS)]
        windows = features[rows[:, None] + np.arange(WINDOW_STEPS)]
        faces, wanted = mover.draw(actions[rows], generator)
        with low_precision():
            found = network(_to_tensor(windows), _to_tensor(faces.reshape(-1, 204)))
        errors = (found.float().reshape(-1, 68, 3) - _to_tensor(wanted * gains / LIP_UNIT)) * weights
        return errors.square().mean()

    optimise(network, steps, draw_loss, "content branch")
    _scale(network.fc[-1], LIP_UNIT)
    return network


def measure_content(network: ContentBranch, heard: list[Heard], utterances: list[Spoken]) -> dict[str, float]:
    """Compare the mean face's mouth opening with the truth, the truth reversed in time, and the truth shifted."""
    mover = FaceMover()
    still = np.eye(3)[None]
    found, truth = [], []
    for item, spoken in zip(heard, utterances, strict=True):
        windows = cut_windows(item.feature)
        faces, wanted = mover.place(mover.mean[None], spoken.actions[: len(windows)], still)
        with torch.inference_mode():
            moved = network(_to_tensor(windows), _to_tensor(faces.reshape(1, 204))).numpy().reshape(-1, 68, 3)
        moved[:, 48:, :2] *= LIP_GAIN
        found.append(mouth_opening((faces + moved)[..., :2]))
        truth.append(mouth_opening((faces + wanted)[..., :2]))
    by_lag = {lag: _correlate(found, truth, lag) for lag in LAGS}
    best = max(by_lag, key=by_lag.get)
    return {
        "content branch: r of the mouth's opening": by_lag[0],
        "truth reversed in time (cheat): r": _correlate(found, [curve[::-1] for curve in truth], 0),
        "lag at which r is greatest, ms (late lips are positive)": best / STEPS_PER_S * 1000,
        "spread of the opening over the truth's": float(np.std(np.concatenate(found)) / np.std(np.concatenate(truth))),
    }


def make_motion(heard: Heard, landmarks: np.ndarray) -> Motion:
    """Convert a rendered person's landmarks (M, 68, 2), px, to displacements in the networks' space, without depth."""
    points = np.concatenate([landmarks, np.zeros((*landmarks.shape[:2], 1))], axis=2)
    mean = points.mean(axis=0)
    frame = find_frame(mean)
    moved = frame.to_network(points, np.zeros(68)) - frame.to_network(mean, np.zeros(68))
    return Motion(heard, moved[: len(heard.feature) - WINDOW_STEPS].reshape(-1, 204).astype(np.float32))


def train_speaker(motions: list[Motion], steps: int, seed: int) -> SpeakerBranch:
    """Train face and head motion of rendered people from the content feature and their voice, on squared errors.

    A person's windows are played forwards and backwards from a random one until all 512 attention positions are filled.
    """
    torch.manual_seed(seed)
    network, generator = SpeakerBranch(), np.random.default_rng([seed, 4])
    _set_memory(network.audio_content_encoder)
    _scale(network.out[-1], 0.0)

    def draw_loss() -> Tensor:
        motion = motions[generator.integers(len(motions))]
        windows = cut_windows(motion.heard.feature)
        order = ping_pong(int(generator.integers(len(windows))), len(windows), MAX_WINDOWS)
        voice = _to_tensor(np.tile(VOICE_GAIN * motion.heard.voice, (MAX_WINDOWS, 1)))
        with low_precision():
            heard = network.hear(_to_tensor(windows))
            found, _ = network.move(heard[torch.from_numpy(order)], voice, torch.zeros(MAX_WINDOWS, NOISE_SIZE))
        return (found.float() - _to_tensor(motion.displacement[order] / HEAD_UNIT)).square().mean()

    optimise(network, steps, draw_loss, "speaker branch")
    _scale(network.out[-1], HEAD_UNIT)
    return network


def measure_speaker(network: SpeakerBranch, motions: list[Motion]) -> dict[str, float]:
    """Measure the share of the displacements' energy explained by the right sound, by others', and by a still face."""
    energies, errors = np.zeros(2), np.zeros(2)
    for row, motion in enumerate(motions):
        windows = cut_windows(motion.heard.feature)[:MAX_WINDOWS]
        voice = _to_tensor(np.tile(VOICE_GAIN * motion.heard.voice, (len(windows), 1)))
        with torch.inference_mode():
            found = network(_to_tensor(windows), voice, torch.zeros(len(windows), NOISE_SIZE))[0].numpy()
        for place, truth in enumerate((motion.displacement, motions[row - 1].displacement)):
            count = min(len(found), len(truth))
            energies[place] += np.square(truth[:count]).mean()
            errors[place] += np.square(found[:count] - truth[:count]).mean()
    own, others = 1 - errors / energies
    return {
        "speaker branch: share of the displacement told": float(own),
        "another person's displacement (cheat): share": float(others),
        "a face that is still: share": 0.0,
    }


def _set_memory(lstm: nn.LSTM) -> None:
    lstm.dropout = DROPOUT
    for name, bias in lstm.named_parameters():
        if name.startswith("bias_ih"):
            # the second of the gates input, forget, cell, output
            nn.init.constant_(bias[len(bias) // 4 : len(bias) // 2], FORGET_BIAS)


def _scale(layer: nn.Linear, factor: float) -> None:
    """Scale the output of a last layer: to no motion at the start, and to the networks' units at the end."""
    with torch.no_grad():
        layer.weight *= factor
        layer.bias *= factor


def _correlate(found: list[np.ndarray], truth: list[np.ndarray], lag: int) -> float:
    """Compute r over all steps, with the found curve taken `lag` steps later."""
    early, late = max(0, -lag), max(0, lag)
    pairs = [
        (one[late : len(one) - early], other[early : len(other) - late])
        for one, other in zip(found, truth, strict=True)
    ]
    return float(np.corrcoef(*(np.concatenate(column) for column in zip(*pairs, strict=True)))[0, 1])


def _to_tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
