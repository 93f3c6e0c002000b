"""Control rows: which moments they show, and what counts as the wrong order."""

import numpy as np
import pandas as pd
import pytest

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.evaluation.controls import (
    CONTROL_ROWS,
    REENCODED,
    check_controls,
    find_lse_failures,
    find_order_failures,
    order_controls,
)
from metatalk_lib.metrics.lse import LipSyncError


def test_controls_show_other_moments():
    opening = np.array([5.0, 4, 3, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    orders = order_controls(opening)
    assert tuple(orders) == CONTROL_ROWS
    assert orders["shuffled audio"].tolist() == [7, 8, 9, 10, 11, 12, 0, 1, 2, 3, 4, 5, 6]
    # sound that comes 5 frames late belongs to lips that were there 5 frames ago: the lips shown are ahead
    assert orders["audio 5 frames late"][:3].tolist() == [5, 6, 7]
    assert orders["audio 5 frames early"][5:8].tolist() == [0, 1, 2]
    assert set(orders["silence"]) == {4}
    assert set(orders["static frame"]) == {0}


def test_short_clips_have_no_controls():
    with pytest.raises(ParameterError, match="more than 10 frames, got 10"):
        order_controls(np.zeros(10))


def make_table(**changed: float) -> pd.DataFrame:
    rows = {REENCODED: (0.95, 1.0), **dict.fromkeys(CONTROL_ROWS, (0.8, 4.0))}
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["SSIM in mask", "FFD (open)"])
    for row, value in changed.items():
        table.loc[row.replace("_", " "), "SSIM in mask"] = value
    return table


def test_controls_must_be_worse_than_the_truth():
    assert find_order_failures(make_table(), "SSIM in mask", "FFD (open)") == []
    failures = find_order_failures(make_table(silence=0.96, static_frame=0.95), "SSIM in mask")
    assert len(failures) == 2
    assert failures[0] == "SSIM in mask: `silence` scores 0.96, the re-encoded truth 0.95"


def test_a_distance_of_sets_is_not_asked_about_order_but_about_silence():
    table = make_table()
    table.loc["shuffled audio", "FFD (open)"] = 0.0
    assert find_order_failures(table, "FFD (open)") == []
    table.loc["silence", "FFD (open)"] = 0.5
    assert len(find_order_failures(table, "FFD (open)")) == 1


def test_missing_rows_and_columns_are_named():
    with pytest.raises(ParameterError, match="no `silence`"):
        find_order_failures(make_table().drop(index="silence"), "SSIM in mask")
    with pytest.raises(ParameterError, match="no `PSNR in mask, dB`"):
        find_order_failures(make_table(), "PSNR in mask, dB")


def test_controls_in_the_wrong_order_are_findings_or_stop_the_run():
    verdicts = {"LSE": ["`silence` has LSE-D 3.00"], "faces": [], "envelope": None}
    found = {check.name: check for check in check_controls(verdicts, [], must_hold=False)}
    assert [check.status for check in found.values()] == ["notice", "ok", "ok", "ok"]
    assert found["controls of LSE"].figure == "`silence` has LSE-D 3.00"
    assert "says nothing of this video" in found["controls of LSE"].advice
    assert found["controls of envelope"].figure == "clip too short to say"
    with pytest.raises(DataError, match=r"LSE: `silence` has LSE-D 3\.00\. Hold out a longer tail"):
        check_controls(verdicts, [], must_hold=True)
    assert all(check.status == "ok" for check in check_controls({"faces": [], "LSE": None}, [], must_hold=True))


def test_a_cheat_that_passes_is_a_finding_or_stops_the_run():
    (check,) = check_controls({}, ["`blurred` has SSIM in mask 0.99"], must_hold=False)
    assert (check.name, check.status) == ("image measures", "notice")
    with pytest.raises(DataError, match="image measures: `blurred` has SSIM in mask 0.99"):
        check_controls({}, ["`blurred` has SSIM in mask 0.99"], must_hold=True)


def test_a_blind_measure_fails_its_controls():
    same = LipSyncError(5.0, 1.0, 0)
    names = ("ground truth", "shuffled audio", "audio 5 frames late", "silence")
    failures = find_lse_failures(dict.fromkeys(names, same))
    assert len(failures) == 9
    assert failures[0] == "`audio 5 frames late` is found at 0 frames, not at -5"
    assert failures[1] == "`shuffled audio` has LSE-D 5.00, `ground truth` 5.00"


def test_what_encoding_spoils_is_no_measure():
    controls = {
        "ground truth": LipSyncError(5.0, 3.0, 0),
        "ground truth, re-encoded": LipSyncError(8.0, 1.0, 0),
        "shuffled audio": LipSyncError(7.0, 1.5, 6),
    }
    (first, second) = find_lse_failures(controls)
    assert first == "`shuffled audio` has LSE-D 7.00, `ground truth, re-encoded` 8.00"
    assert "LSE-C" in second
