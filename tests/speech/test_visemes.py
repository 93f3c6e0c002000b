"""Visemes: closures close, silence is neutral, vowels open in their own time, curves are smooth."""

from fractions import Fraction

import numpy as np
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.speech.sentences import SENTENCES
from metatalk_lib.speech.synthesis import PAUSE, Phoneme, synthesize
from metatalk_lib.speech.visemes import (
    ARKIT_ACTIONS,
    INERTIA_S,
    VISEMES,
    phoneme_to_viseme,
    split_phoneme,
    viseme_curves,
)


def column(name):
    return ARKIT_ACTIONS.index(name)


def tile(*symbols_and_seconds):
    phonemes, time = [], 0.0
    for symbol, seconds in symbols_and_seconds:
        phonemes.append(Phoneme(symbol, time, time + seconds))
        time += seconds
    return tuple(phonemes)


PAPA = tile((PAUSE, 0.4), ("p", 0.08), ("ˈɑː", 0.16), ("p", 0.04), ("ɑː", 0.16), (PAUSE, 0.5))


def test_actions_are_the_52_of_arkit():
    assert len(ARKIT_ACTIONS) == len(set(ARKIT_ACTIONS)) == 52
    assert ARKIT_ACTIONS[0] == "browDownLeft"
    assert ARKIT_ACTIONS[-1] == "tongueOut"


def test_every_pose_names_known_actions():
    known = {name.removesuffix("Left").removesuffix("Right") for name in ARKIT_ACTIONS}
    assert all(name in known for viseme in VISEMES.values() for name in viseme.pose)


@pytest.mark.parametrize(
    ("symbol", "visemes"),
    [
        ("p", ("PP",)),
        ("ˈuː", ("UW",)),
        ("aɪ", ("AE", "IH")),
        ("ɑːɹ", ("AA", "RR")),
        ("tʃ", ("DD", "SH")),
        ("n̩", ("DD",)),
        ("ç", ("KK",)),
        ("æ̃", ("AE",)),
        (PAUSE, ("sil",)),
        ("", ("sil",)),
    ],
)
def test_known_phonemes(symbol, visemes):
    assert split_phoneme(symbol) == visemes
    assert phoneme_to_viseme(symbol) == visemes[0]


@pytest.mark.parametrize(
    ("voice", "text"),
    [("de", "Fünf schöne Bücher über Züge."), ("fr", "Un bon vin blanc, oui."), ("es", "El perro rojo.")],
)
def test_other_languages_are_covered(voice, text):
    for phoneme in synthesize(text, voice).phonemes:
        assert split_phoneme(phoneme.symbol)


def test_an_unknown_letter_is_refused():
    with pytest.raises(ParameterError, match="no known IPA phone"):
        phoneme_to_viseme("я")


def test_pauses_are_neutral():
    actions = viseme_curves(PAPA, 34, 25)
    assert np.abs(actions[:3]).max() < 0.02
    assert np.abs(actions[-6:]).max() < 0.02


@pytest.mark.parametrize("fps", [15, 24, 25, Fraction(30000, 1001), 60])
@pytest.mark.parametrize("offset_s", [0.0, 0.007, 0.021])
def test_bilabials_close_at_every_frame_rate(fps, offset_s):
    shifted = [Phoneme(p.symbol, p.start_s + offset_s, p.end_s + offset_s) for p in PAPA]
    actions = viseme_curves(shifted, round(1.34 * float(fps)), fps)
    times = np.arange(len(actions)) / float(fps)
    for phoneme in shifted:
        if phoneme.symbol == "p":
            nearest = np.argmin(np.abs(times - (phoneme.start_s + phoneme.end_s) / 2))
            assert actions[nearest, column("jawOpen")] < 0.01
            assert actions[nearest, column("mouthPressLeft")] > 0.4


def test_closures_hold_for_every_style():
    actions = viseme_curves(PAPA, 134, 100, strength=1.6, jaw=1.5, lips=1.5)
    assert actions[44, column("jawOpen")] < 0.01
    assert actions[66, column("jawOpen")] < 0.01
    assert actions[56, column("jawOpen")] > 0.8


@pytest.mark.parametrize(("inertia_s", "vowel_frame"), [(0.0, 7), (INERTIA_S, 5)])
def test_labiodentals_tuck_the_lower_lip(inertia_s: float, vowel_frame: int):
    actions = viseme_curves(tile(("ɑː", 0.15), ("f", 0.08), ("ɑː", 0.15)), 38, 100, inertia_s=inertia_s)
    assert actions[19, column("mouthRollLower")] > 0.7
    assert actions[19, column("mouthUpperUpLeft")] > 0.3
    assert actions[19, column("jawOpen")] < 0.1
    assert actions[vowel_frame, column("mouthRollLower")] < 0.1


@pytest.mark.parametrize("vowel", ["ɑː", "æ", "ɔː", "ɛ"])
@pytest.mark.parametrize("consonant", ["b", "t", "s", "v", "w"])
@pytest.mark.parametrize(("inertia_s", "least"), [(0.0, 0.2), (INERTIA_S, 0.15)])
def test_open_vowels_peak_in_their_own_interval(vowel, consonant, inertia_s: float, least: float):
    phonemes = tile((PAUSE, 0.2), (consonant, 0.07), (vowel, 0.14), (consonant, 0.07), (PAUSE, 0.3))
    jaw = viseme_curves(phonemes, 780, 1000, inertia_s=inertia_s)[:, column("jawOpen")]
    assert 0.27 <= np.argmax(jaw) / 1000 <= 0.41
    assert jaw.max() > least


def test_the_jaw_has_inertia_and_contacts_are_kept():
    phonemes = tile((PAUSE, 0.2), ("t", 0.07), ("ɑː", 0.14), ("b", 0.07), (PAUSE, 0.3))
    slow, quick = (viseme_curves(phonemes, 780, 1000, inertia_s=inertia_s) for inertia_s in (INERTIA_S, 0.0))
    jaws = [actions[:, column("jawOpen")] for actions in (slow, quick)]
    speeds = [1000 * np.abs(np.diff(jaw)).max() for jaw in jaws]
    assert jaws[0].max() > 0.6 * jaws[1].max()
    assert speeds[0] < 0.7 * speeds[1]
    np.testing.assert_allclose(slow[445], quick[445], atol=1e-6)


def test_lead_moves_the_face_earlier():
    now, early = (viseme_curves(PAPA, 134, 100, lead_s=lead_s) for lead_s in (0.0, 0.05))
    np.testing.assert_allclose(early[:-5], now[5:], atol=1e-5)


def test_rounding_starts_before_its_vowel():
    pucker = viseme_curves(tile(("s", 0.12), ("uː", 0.2)), 320, 1000)[:, column("mouthPucker")]
    spread = viseme_curves(tile(("s", 0.12), ("iː", 0.2)), 320, 1000)[:, column("mouthPucker")]
    assert pucker[100] > 0.4 * pucker.max() > 0.2
    assert spread.max() < 0.05


def test_speech_curves_are_smooth_bounded_and_symmetric():
    for text in SENTENCES[::16]:
        utterance = synthesize(text)
        actions = viseme_curves(utterance.phonemes, int(100 * utterance.duration_s), 100)
        assert actions.dtype == np.float32
        assert actions.min() >= 0.0
        assert actions.max() <= 1.0
        assert np.abs(np.diff(actions, axis=0)).max() < 0.25
        for name in ARKIT_ACTIONS:
            if name.endswith("Left") and name.startswith("mouth") and name != "mouthLeft":
                right = name.removesuffix("Left") + "Right"
                np.testing.assert_array_equal(actions[:, column(name)], actions[:, column(right)])


def test_styles_scale_what_they_name():
    plain = viseme_curves(PAPA, 134, 100)
    wide = viseme_curves(PAPA, 134, 100, jaw=1.4)
    assert wide[56, column("jawOpen")] == pytest.approx(1.4 * plain[56, column("jawOpen")], rel=1e-5)
    assert wide[56, column("mouthLowerDownLeft")] == pytest.approx(plain[56, column("mouthLowerDownLeft")], rel=1e-5)
    still = viseme_curves(tile(("ɑː", 0.3), ("uː", 0.3)), 60, 100, strength=0.0)
    assert np.abs(still).max() == 0.0


def test_a_frame_far_from_the_speech_is_finite_and_neutral():
    actions = viseme_curves(PAPA, 25 * 120, 25)
    assert np.isfinite(actions).all()
    assert np.abs(actions[100:]).max() < 1e-9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((), 10, 25), "no phonemes"),
        ((PAPA[::-1], 10, 25), "does not follow"),
        (((Phoneme("a", 0.1, 0.1),), 10, 25), "does not follow"),
        ((PAPA, 0, 25), "0 frames"),
        ((PAPA, 10, 0), "at 0.0 fps"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        viseme_curves(*arguments)


def test_a_style_out_of_range_is_refused():
    with pytest.raises(ParameterError, match="jaw 3.0"):
        viseme_curves(PAPA, 10, 25, jaw=3.0)
    with pytest.raises(ParameterError, match=r"inertia_s -0.1"):
        viseme_curves(PAPA, 10, 25, inertia_s=-0.1)
