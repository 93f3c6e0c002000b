"""Visemes: from timed phonemes to the 52 facial actions of a speaking face.

Every phoneme maps to one or two visemes, poses of jaw and lips. Poses are blended with dominance functions: viseme s
has, for each articulator g, a dominance

    D_sg(t) = a_sg exp(-r_sg d_s(t)),      F_g(t) = sum_s D_sg(t) T_sg / sum_s D_sg(t)

with a peak a, a rate r (1/s, one before and one after the viseme), the time d from t to the core of the viseme's
interval, and the target pose T. Jaw and lips have inertia and follow a running mean of F. Consonants that need contact
of the lips get it regardless of their neighbours.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float
from numpy.polynomial.hermite_e import hermegauss

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.smooth_step import smooth_step
from metatalk_lib.face3d.anny_data import ACTION_NAMES
from metatalk_lib.speech.synthesis import PAUSE, Phoneme

ARKIT_ACTIONS = ACTION_NAMES
"""The 52 facial actions of ARKit, in the order of the face model; the columns of every actions array."""

_JAW, _ROUND, _LIPS = 0, 1, 2
_ROUND_ACTIONS = ("mouthFunnel", "mouthPucker")
_JAW_ACTIONS = ("jawForward", "jawLeft", "jawOpen", "jawRight", "tongueOut")
_GROUPS = np.array(
    [_JAW if name in _JAW_ACTIONS else _ROUND if name in _ROUND_ACTIONS else _LIPS for name in ARKIT_ACTIONS]
)


@dataclass(frozen=True)
class Viseme:
    """A pose with its dominance over neighbouring visemes.

    Attributes:
        pose: mapping from action to value; a name without Left or Right stands for both sides.
        dominance: peak a for jaw, rounding and lips.
        before: rate r before the viseme for jaw, rounding and lips, 1/s; a small rate means early anticipation.
        after: rate r after the viseme for jaw, rounding and lips, 1/s.
        contact: actions that remain during a lip contact, while all others are suppressed; None without contact.
    """

    pose: dict[str, float]
    dominance: tuple[float, float, float] = (1.0, 1.0, 1.0)
    before: tuple[float, float, float] = (26.0, 18.0, 24.0)
    after: tuple[float, float, float] = (26.0, 22.0, 24.0)
    contact: frozenset[str] | None = None


_BILABIAL = frozenset({"mouthPress", "mouthRollLower", "mouthRollUpper", "mouthPucker"})
_LABIODENTAL = frozenset({"mouthRollLower", "mouthUpperUp", "mouthShrugLower", "jawOpen", "mouthStretch"})
_EARLY_ROUND = (24.0, 11.0, 22.0)

VISEMES: dict[str, Viseme] = {
    "sil": Viseme({}, (1.0, 1.0, 1.0), (16.0, 16.0, 16.0), (22.0, 20.0, 22.0)),
    "PP": Viseme(
        {"mouthPress": 0.45, "mouthRollLower": 0.30, "mouthRollUpper": 0.25}, (1.2, 0.25, 3.0), contact=_BILABIAL
    ),
    "FF": Viseme(
        {"mouthRollLower": 1.0, "mouthUpperUp": 0.35, "mouthShrugLower": 0.45, "jawOpen": 0.04, "mouthStretch": 0.08},
        (1.6, 0.35, 1.0),
        contact=_LABIODENTAL,
    ),
    "TH": Viseme({"jawOpen": 0.16, "mouthLowerDown": 0.20, "mouthUpperUp": 0.08, "tongueOut": 0.35}, (1.2, 0.4, 1.0)),
    "DD": Viseme({"jawOpen": 0.13, "mouthLowerDown": 0.16, "mouthUpperUp": 0.06}, (0.9, 0.15, 0.6)),
    "LL": Viseme({"jawOpen": 0.18, "mouthLowerDown": 0.18, "mouthUpperUp": 0.06}, (0.7, 0.15, 0.5)),
    "SS": Viseme(
        {"jawOpen": 0.05, "mouthLowerDown": 0.26, "mouthUpperUp": 0.12, "mouthStretch": 0.18, "mouthSmile": 0.08},
        (1.8, 0.35, 1.2),
    ),
    "SH": Viseme(
        {"jawOpen": 0.06, "mouthFunnel": 0.20, "mouthPucker": 0.36, "mouthLowerDown": 0.12, "mouthUpperUp": 0.08},
        (1.6, 1.8, 1.4),
        _EARLY_ROUND,
    ),
    "KK": Viseme({"jawOpen": 0.18, "mouthLowerDown": 0.10}, (0.6, 0.1, 0.4)),
    "RR": Viseme({"jawOpen": 0.10, "mouthFunnel": 0.08, "mouthPucker": 0.30, "mouthLowerDown": 0.06}, (0.8, 0.9, 0.7)),
    "WW": Viseme({"jawOpen": 0.05, "mouthPucker": 0.85, "mouthFunnel": 0.05}, (1.5, 2.4, 1.6), _EARLY_ROUND),
    "YY": Viseme({"jawOpen": 0.10, "mouthSmile": 0.20, "mouthStretch": 0.14, "mouthLowerDown": 0.12}, (0.8, 0.5, 0.8)),
    "HH": Viseme({"jawOpen": 0.20, "mouthLowerDown": 0.06}, (0.12, 0.05, 0.1)),
    "AA": Viseme({"jawOpen": 0.55, "mouthLowerDown": 0.18, "mouthUpperUp": 0.08}, (1.5, 0.9, 1.0)),
    "AE": Viseme(
        {"jawOpen": 0.46, "mouthLowerDown": 0.26, "mouthUpperUp": 0.12, "mouthStretch": 0.18, "mouthSmile": 0.08},
        (1.4, 0.9, 1.1),
    ),
    "AH": Viseme({"jawOpen": 0.36, "mouthLowerDown": 0.16, "mouthUpperUp": 0.06}, (1.1, 0.7, 0.8)),
    "AX": Viseme({"jawOpen": 0.22, "mouthLowerDown": 0.12, "mouthUpperUp": 0.04}, (0.5, 0.3, 0.4)),
    "EH": Viseme(
        {"jawOpen": 0.34, "mouthLowerDown": 0.24, "mouthUpperUp": 0.10, "mouthStretch": 0.16, "mouthSmile": 0.12},
        (1.2, 0.8, 1.0),
    ),
    "IH": Viseme(
        {"jawOpen": 0.20, "mouthLowerDown": 0.20, "mouthUpperUp": 0.08, "mouthStretch": 0.14, "mouthSmile": 0.16},
        (0.9, 0.7, 0.9),
    ),
    "IY": Viseme(
        {"jawOpen": 0.12, "mouthLowerDown": 0.24, "mouthUpperUp": 0.10, "mouthStretch": 0.26, "mouthSmile": 0.34},
        (1.2, 1.2, 1.4),
    ),
    "UH": Viseme({"jawOpen": 0.15, "mouthFunnel": 0.10, "mouthPucker": 0.36, "mouthLowerDown": 0.04}, (0.9, 1.3, 0.9)),
    "UW": Viseme({"jawOpen": 0.08, "mouthPucker": 0.76, "mouthFunnel": 0.10}, (1.2, 2.2, 1.4), _EARLY_ROUND),
    "AO": Viseme({"jawOpen": 0.36, "mouthFunnel": 0.16, "mouthPucker": 0.28, "mouthLowerDown": 0.06}, (1.4, 1.6, 1.1)),
    "OW": Viseme({"jawOpen": 0.24, "mouthFunnel": 0.14, "mouthPucker": 0.50}, (1.3, 2.0, 1.2), _EARLY_ROUND),
    "ER": Viseme({"jawOpen": 0.16, "mouthFunnel": 0.10, "mouthPucker": 0.20, "mouthLowerDown": 0.08}, (1.0, 1.0, 0.9)),
}
"""25 visemes: the pause, 12 consonant classes and 12 vowels; values judged by eye on renders of the open face model."""

_PHONES: dict[str, str] = {
    phone: viseme
    for viseme, phones in {
        "PP": "pbmɓʙ",
        "FF": "fvɱⱱ",
        "TH": "θð",
        "DD": "tdnɾɗʈɖɳɽ",
        "LL": "lɫɭɬɮɺʎʟ",
        "SS": "szʦʣɕʑ",
        "SH": "ʃʒʂʐʧʤ",
        "KK": "kgɡŋxɣqɢχʁɲcɟçʝɴɠʛ",
        "RR": "ɹrɻʀ",
        "WW": "wʍɥɸβʋ",
        "YY": "jɰ",
        "HH": "hɦʔħʕ",
        "AA": "ɑ",
        "AE": "æa",
        "AH": "ʌɐ",
        "AX": "əɘɤ",
        "EH": "ɛe",
        "IH": "ɪᵻɨ",
        "IY": "i",
        "UH": "ʊɵᵿ",
        "UW": "uʉyɯʏ",
        "AO": "ɔɒɶ",
        "OW": "oøœɞ",
        "ER": "ɜɚɝ",
    }.items()
    for phone in phones
}
_VOWELS = frozenset({"AA", "AE", "AH", "AX", "EH", "IH", "IY", "UH", "UW", "AO", "OW", "ER"})
INERTIA_S = 0.05
"""Standard deviation of the Gaussian time window over which jaw and lips average their targets, s.

Without it the mouth moves faster than filmed mouths do: `make bench-lips` prints both.
"""
_INERTIA_NODES = 7
"""Number of quadrature nodes of the integral over the window."""
_CONTACT_RAMP_S = 0.06
"""Time in which lips without inertia close to or open from a contact, s."""
_RAMP_PER_INERTIA = 0.8
"""Increase of the contact ramp per second of inertia, s/s."""
_PRIMARY_STRESS, _SECONDARY_STRESS = "ˈ", "ˌ"
_STRESSED, _UNSTRESSED = 1.12, 0.92
"""Openness of vowels with primary stress and without stress, relative to the pose."""


def split_phoneme(symbol: str) -> tuple[str, ...]:
    """Split a phoneme into its visemes in order: two for diphthongs and affricates, otherwise one.

    Stress, length, tone marks and diacritics are ignored.

    Raises:
        ParameterError: a letter that is no IPA phone.

    Source: the classes follow the places of articulation of the IPA chart; original to this project.
    """
    if symbol in (PAUSE, ""):
        return ("sil",)
    visemes: list[str] = []
    for letter in unicodedata.normalize("NFD", symbol):
        if letter in _PHONES:
            if not visemes or visemes[-1] != _PHONES[letter]:
                visemes.append(_PHONES[letter])
        elif unicodedata.category(letter)[0] in "LS" and unicodedata.category(letter) not in ("Lm", "Sk"):
            raise ParameterError(
                f"visemes: `{letter}` in the phoneme `{symbol}` is no known IPA phone. Use IPA symbols."
            )
    return tuple(visemes) or ("sil",)


def phoneme_to_viseme(symbol: str) -> str:
    """Return the first viseme of a phoneme, a key of `VISEMES`.

    Raises:
        ParameterError: a letter that is no IPA phone.
    """
    return split_phoneme(symbol)[0]


def viseme_at(phonemes: Sequence[Phoneme], time_s: float) -> str:
    """Return the first viseme of the phoneme spoken at an instant; `sil` outside all phonemes.

    Args:
        phonemes: in time, not overlapping.
        time_s: instant, s.
    """
    return next((phoneme_to_viseme(p.symbol) for p in phonemes if p.start_s <= time_s < p.end_s), "sil")


def viseme_curves(
    phonemes: Sequence[Phoneme],
    frame_count: int,
    fps: float | int | Fraction,
    *,
    strength: float = 1.0,
    jaw: float = 1.0,
    lips: float = 1.0,
    lead_s: float = 0.0,
    inertia_s: float = INERTIA_S,
) -> Float[np.ndarray, "T 52"]:
    """Compute facial actions of phonemes: F_g of the module's docstring, followed with inertia, at frame times i / fps.

    Contacts are kept at every frame rate: the frame nearest to a bilabial always has closed lips, in any style.

    Args:
        phonemes: in time, not overlapping.
        frame_count: T.
        fps: frames a second.
        strength: scales all actions but contacts; 1 is ordinary careful speech, 0 a closed mouth.
        jaw: scales jaw opening only.
        lips: scales rounding and spreading only.
        lead_s: time by which the face leads the sound, s.
        inertia_s: standard deviation of the window of the running mean, s; 0 follows the targets without delay.

    Returns:
        (T, 52) actions, 0 to about 1.2, columns as `ARKIT_ACTIONS`; only jaw, lips and tongue move.

    Raises:
        ParameterError: no phonemes, phonemes out of order, an unknown symbol, or a count, rate or style out of range.

    Source: dominance blending after Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993);
        poses, rates and the contact rule are original to this project.
    """
    _check_style(frame_count, float(fps), strength, jaw, lips, inertia_s)
    segments = _build_segments(phonemes)
    times = np.arange(frame_count) / float(fps) + lead_s
    actions = _follow(segments, times, inertia_s)
    scale = np.full(len(ARKIT_ACTIONS), strength)
    scale[_GROUPS == _JAW] *= jaw
    scale[_columns("mouthFunnel", "mouthPucker", "mouthStretch", "mouthSmile")] *= lips
    actions *= scale
    _apply_contacts(actions, segments, times, 0.5 / float(fps), _CONTACT_RAMP_S + _RAMP_PER_INERTIA * inertia_s)
    return np.clip(actions, 0.0, 1.5).astype(np.float32)


@dataclass(frozen=True)
class _Segment:
    viseme: str
    start_s: float
    end_s: float
    gain: float

    @property
    def core_s(self) -> tuple[float, float]:
        """Interval in which the pose is fully reached: the middle of a phoneme, or a pause without its transitions."""
        duration = self.end_s - self.start_s
        margin = min(0.3 * duration, 0.09) if self.viseme == "sil" else 0.35 * duration
        return self.start_s + margin, self.end_s - margin


def _build_segments(phonemes: Sequence[Phoneme]) -> list[_Segment]:
    if not phonemes:
        raise ParameterError("visemes: no phonemes. Give at least one, a pause where nothing is said.")
    # Silence around the utterance closes the mouth before and after it.
    segments = [_Segment("sil", phonemes[0].start_s - 1.0, phonemes[0].start_s, 1.0)]
    for phoneme in phonemes:
        if phoneme.end_s <= phoneme.start_s or phoneme.start_s < segments[-1].end_s - 1e-6:
            raise ParameterError(
                f"visemes: phoneme `{phoneme.symbol}` at {phoneme.start_s:.3f}-{phoneme.end_s:.3f} s does not follow "
                f"the one that ends at {segments[-1].end_s:.3f} s. Sort the phonemes and remove overlaps."
            )
        parts = split_phoneme(phoneme.symbol)
        edges = np.linspace(phoneme.start_s, phoneme.end_s, len(parts) + 1)
        for viseme, start_s, end_s in zip(parts, edges[:-1], edges[1:], strict=True):
            segments.append(_Segment(viseme, float(start_s), float(end_s), _stress_gain(phoneme.symbol, viseme)))
    end_s = segments[-1].end_s
    return [*segments, _Segment("sil", end_s, end_s + 1.0, 1.0)]


def _stress_gain(symbol: str, viseme: str) -> float:
    if viseme not in _VOWELS or _SECONDARY_STRESS in symbol:
        return 1.0
    return _STRESSED if _PRIMARY_STRESS in symbol else _UNSTRESSED


def _columns(*names: str) -> list[int]:
    """Columns of actions; a name without Left or Right gives both sides."""
    wanted = {side for name in names for side in (name, f"{name}Left", f"{name}Right")}
    return [column for column, action in enumerate(ARKIT_ACTIONS) if action in wanted]


def _pose(viseme: str) -> Float[np.ndarray, " 52"]:
    pose = np.zeros(len(ARKIT_ACTIONS))
    for name, value in VISEMES[viseme].pose.items():
        pose[_columns(name)] = value
    return pose


_POSES = {name: _pose(name) for name in VISEMES}


def _follow(segments: list[_Segment], times: Float[np.ndarray, " T"], inertia_s: float) -> Float[np.ndarray, "T 52"]:
    """Compute the running mean of the blended poses by Gauss-Hermite quadrature."""
    if inertia_s == 0:
        return _blend(segments, times)
    nodes, weights = hermegauss(_INERTIA_NODES)
    blends = (_blend(segments, times + inertia_s * node) for node in nodes)
    return sum(weight * blend for weight, blend in zip(weights / weights.sum(), blends, strict=True))


def _blend(segments: list[_Segment], times: Float[np.ndarray, " T"]) -> Float[np.ndarray, "T 52"]:
    cores = np.array([segment.core_s for segment in segments])
    late = np.maximum(times[:, None] - cores[:, 1], 0.0)
    early = np.maximum(cores[:, 0] - times[:, None], 0.0)
    # A pause of a few milliseconds, as before a plosive, does not close the mouth.
    weights = np.array([min(1.0, (s.end_s - s.start_s) / 0.12) if s.viseme == "sil" else 1.0 for s in segments])
    targets = np.stack([_POSES[s.viseme] * s.gain for s in segments])
    actions = np.empty((len(times), len(ARKIT_ACTIONS)))
    for group in (_JAW, _ROUND, _LIPS):
        peak = np.array([VISEMES[s.viseme].dominance[group] for s in segments]) * weights
        before = np.array([VISEMES[s.viseme].before[group] for s in segments])
        after = np.array([VISEMES[s.viseme].after[group] for s in segments])
        dominance = peak * np.exp(-before * early - after * late)
        # Far outside the speech every dominance underflows; the floor leaves the pose at zero there.
        dominance /= np.maximum(dominance.sum(1, keepdims=True), 1e-30)
        columns = group == _GROUPS
        actions[:, columns] = dominance @ targets[:, columns]
    return actions


def _apply_contacts(
    actions: Float[np.ndarray, "T 52"],
    segments: list[_Segment],
    times: Float[np.ndarray, " T"],
    half_frame_s: float,
    ramp_s: float,
) -> None:
    """Apply lip contacts in place: closed lips (or a tucked lower lip) over the consonant, at least over one frame."""
    for segment in segments:
        kept = VISEMES[segment.viseme].contact
        if kept is None:
            continue
        centre_s, half_s = (segment.start_s + segment.end_s) / 2, (segment.end_s - segment.start_s) / 2
        distance_s = np.abs(times - centre_s) - np.maximum(0.6 * half_s, half_frame_s)
        gate = smooth_step(0.0, 1.0, 1.0 - distance_s / ramp_s)[:, None]
        target = actions.copy()
        target[:, np.setdiff1d(np.arange(len(ARKIT_ACTIONS)), _columns(*kept))] = 0.0
        fixed = [column for column in _columns(*kept) if _POSES[segment.viseme][column] > 0]
        target[:, fixed] = _POSES[segment.viseme][fixed]
        actions[:] = (1.0 - gate) * actions + gate * target


def _check_style(frame_count: int, fps: float, strength: float, jaw: float, lips: float, inertia_s: float) -> None:
    if frame_count < 1 or not 1.0 <= fps <= 1000.0:
        raise ParameterError(
            f"visemes: {frame_count} frames at {fps} fps; expected at least 1 frame and 1 to 1000 fps."
        )
    if not (0.0 <= strength <= 2.0 and 0.0 <= jaw <= 2.0 and 0.0 <= lips <= 2.0):
        raise ParameterError(f"visemes: strength {strength}, jaw {jaw} and lips {lips} must each lie in 0 to 2.")
    if not 0.0 <= inertia_s <= 0.5:
        raise ParameterError(f"visemes: inertia_s {inertia_s} must lie in 0 to 0.5 s.")
