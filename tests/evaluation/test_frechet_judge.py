"""FID or FFD: which is taken, under which name, and that Inception reads frames as pytorch-fid does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from metatalk_lib.core import assets
from metatalk_lib.core.errors import DataError
from metatalk_lib.evaluation import frechet_judge
from metatalk_lib.networks.inception import FIDInception
from tests.reference import load_rule_b


@pytest.fixture(scope="module")
def inception() -> FIDInception:
    return load_rule_b(FIDInception(), "fid_inception").eval()


def place(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Let the asset lie elsewhere."""
    known = assets.find_asset("fid_inception")
    others = tuple(asset for asset in assets.ASSETS if asset is not known)
    monkeypatch.setattr(assets, "ASSETS", (*others, replace(known, path=path)))


def test_without_inception_the_distance_has_its_own_name(monkeypatch, tmp_path):
    place(monkeypatch, tmp_path / "absent.pth")
    assert frechet_judge.load_frechet_judge().metric == "FFD (open)"
    with pytest.raises(DataError, match="absent.pth"):
        frechet_judge.load_frechet_judge("inception")


def test_a_file_of_another_checksum_is_refused(monkeypatch, tmp_path, inception):
    path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    torch.save(inception.state_dict(), path)
    place(monkeypatch, path)
    with pytest.raises(DataError, match="6726825d"):
        frechet_judge.load_frechet_judge()


def test_inception_reads_all_frames_in_batches(monkeypatch, inception):
    frames = list(np.random.default_rng(0).integers(0, 256, (5, 80, 100, 3)).astype(np.uint8))
    monkeypatch.setattr(frechet_judge, "_BATCH", 2)
    features = frechet_judge.compute_inception_features(inception, frames)
    assert features.shape == (5, 2048)
    pixels = torch.from_numpy(frames[3]).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        np.testing.assert_allclose(features[3], inception(pixels)[0], rtol=2e-4, atol=1e-4)


def test_each_judge_has_a_name_of_its_own(inception):
    assert frechet_judge.FrechetJudge(inception).metric == "FID"
    judge = frechet_judge.load_frechet_judge("open")
    assert judge.metric == "FFD (open)"
    assert [path.suffix for path in judge.files] == [".dat"]


def test_features_equal_those_of_pytorch_fid(monkeypatch, inception):
    """Where the optional package can be imported, its network with the same weights gives the same numbers."""
    reference = pytest.importorskip("pytorch_fid.inception", exc_type=ImportError)
    monkeypatch.setattr(reference, "load_state_dict_from_url", lambda *_args, **_options: inception.state_dict())
    theirs = reference.InceptionV3([reference.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()
    pixels = torch.rand(2, 3, 120, 90, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(inception(pixels), theirs(pixels)[0].flatten(1), rtol=1e-4, atol=1e-4)
