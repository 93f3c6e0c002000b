"""The ablation: one thing changed a line, only what can be trained, and scores for each."""

import dataclasses
from pathlib import Path

import pytest

from metatalk_lib.neural_renderer.ablation import ablate, list_variants
from tests.neural_renderer.test_generator import BY_PATCHES, LENDING, MODEL, make_pairs, with_references


def test_each_line_changes_one_choice():
    lines = list_variants(LENDING, BY_PATCHES, uses_prior=True)
    assert lines["as configured"].model == lines["as configured"].training == {}
    assert lines["without the prior"].uses_prior is False
    assert lines["without edge loss"].training == {"edge_weight": 0.0}
    assert lines["with motion loss"].training == {"motion_weight": 0.5}
    assert lines["no references: a plain U-Net, without the prior"].model["references"] == 0


def test_what_cannot_be_trained_is_left_out():
    lines = list_variants(LENDING, BY_PATCHES, uses_prior=False, has_motion=False)
    assert not any("prior" in name or "motion" in name or "scales" in name for name in lines)
    odd = dataclasses.replace(BY_PATCHES, batch=3, patch=48)
    lines = list_variants(MODEL, odd, uses_prior=False)
    assert "discriminator from the start, feature matching, two scales" in lines
    small = dataclasses.replace(BY_PATCHES, gan_weight=0.0, patch=16)
    assert not any("gan" in name or "discriminator" in name for name in list_variants(MODEL, small, uses_prior=False))
    assert not any("motion" in name or "reference" in name for name in lines)
    assert lines["half the width: a light student"].model == {"width": MODEL.width // 2}


def test_every_line_is_trained_and_measured(tmp_path: Path):
    pairs = with_references(make_pairs())
    refitted = dataclasses.replace(pairs, references=255 - pairs.references)
    table = ablate(pairs, pairs, LENDING, BY_PATCHES, uses_prior=False, steps=2, folder=tmp_path, refitted=refitted)
    assert len(table) == len(list_variants(LENDING, BY_PATCHES, uses_prior=False)) + 2
    assert table.loc["without fitting the surroundings", "psnr_mask"] < table.loc["as configured", "psnr_mask"]
    assert table.notna().all().all()
    columns = ["ssim_mask", "psnr_mask"]
    assert (table.loc["with colour match", columns] != table.loc["as configured", columns]).any()
    assert table.loc["with colour match", "l1_loss"] == table.loc["as configured", "l1_loss"]
    assert table.loc["one reference", "ssim_mask"] != pytest.approx(table.loc["as configured", "ssim_mask"])
    assert ablate(pairs, pairs, LENDING, BY_PATCHES, uses_prior=False, steps=0, folder=tmp_path).empty
