"""A killed stage, run again, ends in the same artefacts as an uninterrupted one (all stages: `make bench-resume`)."""

from pathlib import Path

import pytest

from benchmarks.resume import differing_files, run_stage
from metatalk_lib.paths import STAGES

KILLED = ("01_crop", "02_pseudo_video", "05_neural_renderer")


@pytest.mark.slow
def test_killed_stages_end_in_equal_artefacts(tmp_path: Path):
    for stage in STAGES[: STAGES.index(KILLED[-1]) + 1]:
        if stage in KILLED:
            assert differing_files(stage, tmp_path, [0.7]) == {1.0: [], 0.7: []}, stage
        else:
            run_stage(stage, tmp_path)
