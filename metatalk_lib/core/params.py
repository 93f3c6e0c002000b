"""Parameters: one flat key space for all notebooks, one frozen config model a stage.

A notebook's `parameters` cell and its config model declare the same names with the same defaults, which a test
compares. The same name means the same thing in every stage.
"""

import difflib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.paths import PARAMS_DIR

Config = TypeVar("Config", bound="StageConfig")

CHARACTERS = ("A", "B", "C", "D", "E", "F", "G")


class StageConfig(BaseModel):
    """Parameters that every stage declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    character: str = Field(default="A", pattern=r"^[A-Za-z0-9_-]{1,40}$")
    """Name of the person: the folder under `outputs_dir`."""
    outputs_dir: str = "outputs"
    """Folder for everything that is written; relative to the project root, or absolute."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random choice."""
    threads: int = Field(default=2, ge=1, le=256)
    """CPU threads; results are bit-equal only for equal thread counts."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run; `auto` takes the accelerator where there is one."""

    @property
    def takes_what_is_placed(self) -> bool:
        """Whether a parameter leaves it to the official files that are placed what is used."""
        return False

    @classmethod
    def from_notebook(cls: type[Config], namespace: Mapping[str, Any]) -> Config:
        """Build the config from a notebook's global names, refusing injected names that no notebook declares.

        Args:
            namespace: `globals()` of the notebook's setup cell.

        Raises:
            ParameterError: an unknown name (the nearest valid one is named), a wrong type or a value out of range.
        """
        given = {name: value for name, value in namespace.items() if _looks_like_parameter(name, value)}
        check_known(given)
        return cls.from_values(given)

    @classmethod
    def from_values(cls: type[Config], values: Mapping[str, Any]) -> Config:
        """Build the config from known keys, leaving out those of other stages.

        Raises:
            ParameterError: a wrong type or a value out of range.
        """
        own = {name: value for name, value in values.items() if name in cls.model_fields}
        try:
            return cls(**own)
        except ValidationError as error:
            raise ParameterError("; ".join(_describe(problem) for problem in error.errors())) from error


class CropConfig(StageConfig):
    """01: from the source video to the square face video."""

    video: str = "studio"
    """Path of the source video, or `studio` for the embedded character of this name."""
    studio_seconds: float = Field(default=12.0, gt=0)
    """Length of the rendered studio video, s; unused for a video of one's own."""
    studio_scale: float = Field(default=1.0, gt=0, le=1)
    """Size of the rendered studio video relative to the character's own; unused for a video of one's own."""
    held_out_seconds: float = Field(default=3.0, ge=0.4)
    """Length of the tail that no stage trains on, s."""
    face_position: Literal["only", "largest", "left", "right", "centre"] = "only"
    """Which face to take; `only` refuses a video with two faces."""
    max_missing_fraction: float = Field(default=0.02, ge=0, le=1)
    """Largest share of frames without a detected face that is bridged (and counted); more is an error."""
    max_gap_seconds: float = Field(default=1.0, ge=0)
    """Longest run of such frames that is bridged, s; a longer one is an error."""
    landmark_detector: Literal["dlib", "fan"] = "dlib"
    """What places the 68 landmarks; `fan` needs its published weights and, for speed, an accelerator."""
    crop_size: Literal[0, 256, 512, 768, 1024] = 0
    """Side of the face video, px; 0 chooses by the face's own pixels."""


class PseudoVideoConfig(StageConfig):
    """02: the lip-sync teacher speaks with the person's face."""

    teacher: Literal["viseme", "wav2lip"] = "viseme"
    """Lip-sync teacher that makes the pseudo video; Wav2Lip's weights are placed by hand."""
    corpus_dir: str = ""
    """Folder of recordings or of LRS2 clips that the teacher speaks; synthetic sentences where it is empty."""
    recogniser: Literal["auto", "words", "phones"] = "auto"
    """How phonemes are found in recordings: English words, sounds of any language, or words and else sounds."""
    pseudo_seconds: float = Field(default=60.0, gt=0)
    """Total length of the pseudo video, s."""
    teacher_strength: float = Field(default=1.0, ge=0, le=2)
    """How far the teacher's mouth moves; 1 is ordinary careful speech."""
    teacher_lead_s: Literal["auto"] | Annotated[float, Field(ge=-0.2, le=0.2)] = "auto"
    """How much earlier than the sound the viseme teacher's mouth moves, s; `auto` measures it on the person's video."""


class ReconstructionConfig(StageConfig):
    """03: 257 coefficients a frame, for the target and the pseudo video."""

    face_model: Literal["open", "bfm09"] = "open"
    """Face model that is fitted; `bfm09` is placed by hand."""
    face_regressor: Literal["open", "deep3d", "none"] = "open"
    """What sees the pictures before the fit: `open` for the open face model, `deep3d` (placed by hand) for bfm09."""
    identity_frames: int = Field(default=40, ge=1, le=1000)
    """Frames that fit the identity together, half spread over time, half over the mouth's opening."""
    landmark_noise: float = Field(default=0.03, gt=0, le=1)
    """Standard deviation of a landmark as a fraction of the outer-eye distance; higher trusts the face model more."""
    photometric_iterations: int = Field(default=3, ge=0, le=50)
    """Steps of the fine-tuning on the video's pixels; 0 leaves it out."""
    photometric_noise: float = Field(default=0.05, gt=0, le=1)
    """Colour difference of one standard deviation, of 1; higher trusts the pixels less."""
    overlay_frames: int = Field(default=6, ge=1, le=24)
    """Frames on the contact sheet of overlays."""


class AudioToExpressionConfig(StageConfig):
    """04: from audio features to expression coefficients."""

    audio_encoder: Literal["open", "atnet"] = "open"
    """Network that turns MFCC into the 256 audio features; AT-net's published weights are placed by hand."""
    a2e_activation: Literal["none", "relu", "leaky_relu", "tanh"] = "leaky_relu"
    """Activation between the convolutions of Table 1; `none` is the literal table, one affine map."""
    a2e_epochs: int = Field(default=60, ge=0, le=10000)
    """Most passes over the training frames; 0 keeps the closed-form start."""
    a2e_patience: int = Field(default=12, ge=1)
    """Epochs without a better held-out loss before training stops."""
    a2e_batch_size: int = Field(default=32, ge=1)
    """Frames a training step."""
    a2e_learning_rate: float = Field(default=3e-4, gt=0, le=1)
    """Adam's step size."""
    a2e_held_out_fraction: float = Field(default=0.15, gt=0, lt=1)
    """Share of the pseudo utterances that is not trained on, at least one utterance."""


class RendererConfig(StageConfig):
    """05: the neural face renderer, and the test phase."""

    driving_audio: str = ""
    """Path of the recording to speak; empty speaks `driving_text` with a synthetic voice."""
    driving_text: str = "Give me any recording, and my lips will follow every word of it."
    """What a synthetic voice says where there is no recording."""
    driving_voice: str = "en-us+belinda"
    """Voice of espeak-ng for `driving_text`."""
    renderer_references: int = Field(default=3, ge=0, le=8)
    """Real frames that are warped to the drawn face and lend it their pixels, of several the last one chosen by pose;
    0 is a plain U-Net, as the paper's, without any."""
    fit_surroundings: bool = True
    """Fit the references to what surrounds the mask; false moves neck, hair and background as the face moves."""
    renderer_bank: int = Field(default=200, ge=1)
    """Frames of the person that references are chosen from: those that differ most."""
    renderer_frames: int = Field(default=1500, ge=1)
    """Most frames to train on; of a longer video runs of 15 frames are taken, those that differ most."""
    renderer_prior: bool = True
    """Start from the shipped generator prior, which has seen many people; false starts at random."""
    renderer_window: int = Field(default=1, ge=1, le=15)
    """Synthetic frames that the network sees at once, odd; the paper's code takes 7."""
    renderer_width: int = Field(default=32, ge=1, le=128)
    """Channels of the U-Net's first level; 64 is the paper's."""
    renderer_depth: int = Field(default=4, ge=2, le=8)
    """Halvings of the U-Net; the painted rectangle's sides are multiples of 2 to this power."""
    renderer_refine: bool = False
    """The paper's code's refinement blocks, without references only: three times the work."""
    colour_match: bool = True
    """Match the paint's colours to those of the skin round the mask; with references only."""
    renderer_steps: int = Field(default=200, ge=1)
    """Optimiser steps; without the prior take twice as many."""
    renderer_batch: int = Field(default=4, ge=1)
    """Frames a step."""
    renderer_patch: int = Field(default=128, ge=0)
    """Side of the square patches that are trained on, px; 0 takes the whole rectangle."""
    renderer_learning_rate: float = Field(default=5.0e-4, gt=0)
    """Learning rate at the start; it falls along a cosine."""
    edge_weight: float = Field(default=0.5, ge=0)
    """Weight of the difference of neighbouring pixels' differences: edges in their place."""
    detail_weight: float = Field(default=4.0, ge=0)
    """Weight of the difference of local sharpness: as much detail as there is."""
    motion_weight: float = Field(default=0.0, ge=0)
    """Weight of the difference of changes from frame to frame; above 0 the batch is made of consecutive frames."""
    gan_weight: float = Field(default=0.002, ge=0)
    """Weight of the adversarial loss, lambda of Eq. 4; 0 leaves the discriminator out."""
    gan_start: float = Field(default=0.5, ge=0, le=1)
    """Share of the steps after which the discriminator joins."""
    gan_width: int = Field(default=16, ge=1, le=128)
    """Channels of the discriminator's first layer; 64 is the paper's."""
    gan_scales: int = Field(default=1, ge=1, le=4)
    """Picture sizes at which a discriminator judges."""
    feature_weight: float = Field(default=0.0, ge=0)
    """Weight of feature matching, in units of `gan_weight`."""
    ablation_steps: int = Field(default=60, ge=0)
    """Steps of each training of the ablation in notebook 05, which takes away one choice at a time; 0 leaves it out."""
    renderer_devices: int = Field(default=1, ge=1)
    """Accelerators that a training is divided among."""
    checkpoint_steps: int = Field(default=100, ge=1)
    """Distance of the checkpoints from which a killed training goes on, steps; half a minute is never exceeded."""


class EvaluationConfig(StageConfig):
    """06: the paper's tables."""

    evaluation_seconds: float = Field(default=20.0, gt=0)
    """Longest stretch of the held-out tail that is compared, s."""
    audiodvp_width: int = Field(default=16, ge=1, le=128)
    """Channels of the AudioDVP baseline's U-Net; 64 is the published one."""
    audiodvp_depth: int = Field(default=5, ge=2, le=8)
    """Halvings of the baseline's U-Net; the published 8 paints the whole 256 px square, fewer only the mask's part."""
    audiodvp_refine: bool = False
    """The published refinement blocks of the baseline's U-Net: three times the work."""
    audiodvp_steps: int = Field(default=400, ge=1)
    """Optimiser steps of the baseline's renderer."""
    audiodvp_batch: int = Field(default=2, ge=1)
    """Frames a step of the baseline."""
    audiodvp_learning_rate: float = Field(default=1.0e-3, gt=0)
    """Learning rate of the baseline's renderer at the start; the published 2.0e-4 needs days, not minutes."""
    audiodvp_equal_time: bool = False
    """Train the baseline's renderer for as long as ours was trained in stage 05, whatever `audiodvp_steps` says."""
    compared_weights: Literal["auto", "open", "official"] = "auto"
    """Of ATVG, Wav2Lip and MakeItTalk: the published ones, this project's, or the published where they are placed."""
    judging_recordings: int = Field(default=2, ge=1, le=4)
    """Recordings of other people that LSE is measured on, beside stage 05's."""
    judging_seconds: float = Field(default=6.0, gt=1)
    """Length of each, s."""
    lip_sync_network: Literal["auto", "open", "syncnet"] = "auto"
    """SyncNet that measures LSE: this project's, the published one, or the published where it is placed."""
    lip_sync_recipe: Literal["tracker", "s3fd"] = "tracker"
    """What cuts the face out for it; `s3fd` is the published recipe and needs its weights."""
    frechet_network: Literal["auto", "open", "inception"] = "auto"
    """Features of the Fréchet distance: a face network (FFD), Inception (FID), or Inception where it is placed."""
    controls_must_hold: bool = True
    """Stop where a measure's control rows come out in the wrong order; false says so and goes on to stage 07."""

    @property
    def takes_what_is_placed(self) -> bool:
        """True where a network or the compared methods' weights are `auto`."""
        return "auto" in (self.compared_weights, self.lip_sync_network, self.frechet_network)


class UserStudyConfig(StageConfig):
    """07: blinded ratings."""

    study_characters: str = Field(default="", pattern=r"^$|^[A-Za-z0-9_-]{1,40}(,[A-Za-z0-9_-]{1,40})*$")
    """Characters whose clips are rated together, such as `A,B,C`; empty takes this one alone."""
    clip_seconds: float = Field(default=15.0, gt=0)
    """Longest clip that a rater sees, s."""


STAGE_CONFIGS: dict[str, type[StageConfig]] = {
    "01_crop": CropConfig,
    "02_pseudo_video": PseudoVideoConfig,
    "03_reconstruction": ReconstructionConfig,
    "04_audio_to_expression": AudioToExpressionConfig,
    "05_neural_renderer": RendererConfig,
    "06_evaluation": EvaluationConfig,
    "07_user_study": UserStudyConfig,
}


def known_parameters() -> frozenset[str]:
    """Names that at least one stage declares."""
    return frozenset(name for config in STAGE_CONFIGS.values() for name in config.model_fields)


def check_known(values: Mapping[str, Any]) -> None:
    """Refuse a name that no stage declares.

    Raises:
        ParameterError: names the unknown key and the nearest valid one.
    """
    known = sorted(known_parameters())
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean `{near[0]}`?" if near else f"Valid names: {', '.join(known)}."
            raise ParameterError(
                f"unknown parameter `{name}` (value {values[name]!r}): no notebook declares it. {hint}"
            )


def load_params(*paths: Path, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Merge flat YAML files, later ones winning, then the overrides; every key must be known.

    Raises:
        ParameterError: a file is absent, not YAML, not a flat mapping, or holds an unknown key.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        merged.update(_load_yaml(path))
    merged.update(overrides or {})
    check_known(merged)
    return merged


def character_params_path(character: str) -> Path:
    """`params/<character>.yaml`.

    Raises:
        ParameterError: there is no such file.
    """
    return _named_file(PARAMS_DIR / f"{character}.yaml", "character")


def profile_params_path(profile: str) -> Path:
    """`params/profiles/<profile>.yaml`.

    Raises:
        ParameterError: there is no such file.
    """
    return _named_file(PARAMS_DIR / "profiles" / f"{profile}.yaml", "profile")


def _named_file(path: Path, kind: str) -> Path:
    if not path.exists():
        found = ", ".join(sorted(other.stem for other in path.parent.glob("*.yaml")))
        raise ParameterError(f"no {kind} `{path.stem}`: {path} does not exist. There are: {found}.")
    return path


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ParameterError(f"cannot read the parameter file {path}: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, dict) or any(isinstance(value, dict | list) for value in content.values()):
        raise ParameterError(f"{path} must be flat `name: value` lines, without lists or nesting.")
    return content


def _looks_like_parameter(name: str, value: Any) -> bool:
    """True for the literals of a parameters cell; imports, IPython's own names and private names are not."""
    if name.startswith("_") or name in {"In", "Out", "exit", "quit", "get_ipython", "open"}:
        return False
    return not isinstance(value, type | types.ModuleType) and (
        value is None or isinstance(value, str | int | float | bool | list | dict)
    )


def _describe(problem: Any) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    text = f"parameter `{name}` is {problem['input']!r} ({type(problem['input']).__name__}): {problem['msg']}"
    if isinstance(problem["input"], str) and problem["type"] in {"float_type", "int_type"}:
        text += ". In YAML write 1.0e-4, not 1e-4, and no quotes round numbers"
    return text + "."
