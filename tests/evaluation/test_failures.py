"""Methods that fail on a person: rows that say so, findings, and the others as they were."""

import numpy as np
import pandas as pd
import pytest

from metatalk_lib.core.errors import DataError, FaceError
from metatalk_lib.evaluation.controls import GROUND_TRUTH
from metatalk_lib.evaluation.failures import FAILURE, Failures

LABELS = {"ATVG": "ATVG (open weights)", "Ours": "Ours"}


@pytest.fixture
def failures() -> Failures:
    found = Failures()
    found.add("ATVG", "video", DataError("tail.wav is too short.\nGive a longer one."))
    found.add("Wav2Lip", "faces", FaceError("w.mp4: no face was found in 24 frames. Give a video that shows one face."))
    found.add(GROUND_TRUTH, "lip synchrony", "the sound is silent")
    return found


def test_the_first_reason_stays_on_one_line_without_advice_about_a_file_of_ours(failures: Failures):
    failures.add("ATVG", "video", "another reason")
    assert failures.describe() == {
        "ATVG": "no video: tail.wav is too short. Give a longer one.",
        "Wav2Lip": "no faces: w.mp4: no face was found in 24 frames.",
        GROUND_TRUTH: "no lip synchrony: the sound is silent.",
    }
    assert failures.has("ATVG", "video")
    assert not failures.has("ATVG", "faces")
    assert not failures.has("Ours", "video")


def test_a_table_gets_a_row_for_what_failed_and_only_for_what_it_needs(failures: Failures):
    table = pd.DataFrame({"SSIM": [0.9, 0.8]}, index=pd.Index(["Ours", "Wav2Lip"], name="video"))
    noted = failures.note(table, "video")
    assert noted.index.tolist() == ["Ours", "Wav2Lip", "ATVG"]
    assert noted.index.name == "video"
    assert noted["SSIM"].dtype == np.float64
    assert np.isnan(noted.loc["ATVG", "SSIM"])
    assert noted[FAILURE].tolist() == ["", "", "no video: tail.wav is too short. Give a longer one."]
    both = failures.note(table, "video", "faces")
    assert both.loc["Wav2Lip", FAILURE].startswith("no faces")
    pd.testing.assert_frame_equal(Failures().note(table, "video"), table)
    assert table.columns.tolist() == ["SSIM"]


def test_failures_are_findings(failures: Failures):
    found = failures.check(LABELS)
    assert [check.name for check in found] == ["ATVG (open weights)", "Wav2Lip", GROUND_TRUTH]
    assert {check.status for check in found} == {"notice"}
    assert found[0].advice == "no video: tail.wav is too short. Give a longer one. The others are judged."
    (good,) = Failures().check(LABELS)
    assert (good.status, good.figure) == ("ok", "all 2 are judged")
