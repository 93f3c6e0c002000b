"""One frozen config model a stage: its parameters with their types, ranges and defaults, in one flat key space.

A notebook's `parameters` cell and its config model declare the same names with the same defaults, which a test
compares. The same name means the same thing in every stage.
"""

import difflib
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metatalk_lib.core.errors import ParameterError

Config = TypeVar("Config", bound="StageConfig")

CHARACTERS = ("A", "B", "C", "D", "E", "F", "G")


class StageConfig(BaseModel):
    """Base config with the parameters that every stage declares."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    character: str = Field(default="A", pattern=r"^[A-Za-z0-9_-]{1,40}$")
    """Name of the person: the folder under `outputs_dir`."""
    outputs_dir: str = "outputs"
    """Folder for all outputs; relative to the project root, or absolute."""
    seed: int = Field(default=0, ge=0)
    """Seed of every random choice."""
    threads: int = Field(default=2, ge=1, le=256)
    """Number of CPU threads; results are bit-identical only for equal thread counts."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device that networks run on; `auto` takes the accelerator if there is one."""

    @property
    def takes_what_is_placed(self) -> bool:
        """Whether some parameter is `auto`, so that the official files present decide what the stage uses."""
        return False

    @classmethod
    def from_notebook(cls: type[Config], namespace: Mapping[str, Any]) -> Config:
        """Build the config from a notebook's global names, rejecting injected names that no notebook declares.

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
        """Build the config from known keys, ignoring those of other stages.

        Raises:
            ParameterError: a wrong type or a value out of range.
        """
        own = {name: value for name, value in values.items() if name in cls.model_fields}
        try:
            return cls(**own)
        except ValidationError as error:
            raise ParameterError("; ".join(_describe(problem) for problem in error.errors())) from error


class CropConfig(StageConfig):
    """Parameters of stage 01: crop the source video to a square face video."""

    video: str = "studio"
    """Path of the source video, or `studio` for the embedded studio character named by `character`."""
    studio_seconds: float = Field(default=12.0, gt=0)
    """Length of the rendered studio video, s; unused for other videos."""
    studio_scale: float = Field(default=1.0, gt=0, le=1)
    """Size of the rendered studio video relative to the character's full size; unused for other videos."""
    held_out_seconds: float = Field(default=3.0, ge=0.4)
    """Length of the held-out end of the video, which no stage trains on, s."""
    face_position: Literal["only", "largest", "left", "right", "centre"] = "only"
    """Position of the face to use; `only` rejects a video with two faces."""
    max_missing_fraction: float = Field(default=0.02, ge=0, le=1)
    """Largest share of frames without a detected face that is interpolated (and counted); more is an error."""
    max_gap_seconds: float = Field(default=1.0, ge=0)
    """Longest run of frames without a detected face that is interpolated, s; a longer one is an error."""
    landmark_detector: Literal["mediapipe", "fan", "dlib"] = "mediapipe"
    """Detector of the landmarks; `fan` needs its published weights and, for speed, an accelerator."""
    crop_size: Literal[0, 256, 512, 768, 1024] = 0
    """Side of the face video, px; 0 chooses it by the size of the face in the source video."""


class PseudoVideoConfig(StageConfig):
    """Parameters of stage 02: the lip-sync teacher makes the pseudo video with the person's face."""

    teacher: Literal["viseme", "wav2lip"] = "viseme"
    """Lip-sync teacher that makes the pseudo video; Wav2Lip's weights must be placed by hand."""
    corpus_dir: str = ""
    """Folder of recordings or LRS2 clips for the teacher to speak; if empty, it speaks synthetic sentences."""
    recogniser: Literal["auto", "words", "phones"] = "auto"
    """Phoneme recognition: English `words`, `phones` of any language, or `auto`: words, else phones."""
    pseudo_seconds: float = Field(default=60.0, gt=0)
    """Total length of the pseudo video, s."""
    teacher_strength: float = Field(default=1.0, ge=0, le=2)
    """Strength of the teacher's mouth movements; 1 is ordinary careful speech."""
    teacher_lead_s: Literal["auto"] | Annotated[float, Field(ge=-0.2, le=0.2)] = "auto"
    """Time by which the viseme teacher's mouth leads the sound, s; `auto` measures it on the person's video."""


class ReconstructionConfig(StageConfig):
    """Parameters of stage 03: reconstruct 257 coefficients a frame for the target and the pseudo video."""

    face_model: Literal["open", "bfm09"] = "open"
    """Face model to fit; `bfm09` must be placed by hand."""
    face_regressor: Literal["open", "deep3d", "none"] = "open"
    """Network run before the fit: `open` for the open face model, `deep3d` (placed by hand) for bfm09, or none."""
    identity_frames: int = Field(default=40, ge=1, le=1000)
    """Frames used to fit the identity, half spread over time, half over the range of mouth openings."""
    landmark_noise: float = Field(default=0.03, gt=0, le=1)
    """Standard deviation of a landmark as a fraction of the outer-eye distance; higher trusts the face model more."""
    photometric_iterations: int = Field(default=3, ge=0, le=50)
    """Gauss-Newton steps of the photometric fine-tuning; 0 skips it."""
    photometric_noise: float = Field(default=0.08, gt=0, le=1)
    """Standard deviation of the colours, on a scale of 0 to 1; higher trusts the pixels less."""
    overlay_frames: int = Field(default=6, ge=1, le=24)
    """Number of frames on the contact sheet of overlays."""


class AudioToExpressionConfig(StageConfig):
    """Parameters of stage 04: train the network from audio features to expression coefficients (A2E)."""

    audio_encoder: Literal["open", "atnet"] = "open"
    """Network that turns MFCC into the 256 audio features; AT-net's published weights must be placed by hand."""
    a2e_activation: Literal["none", "relu", "leaky_relu", "tanh"] = "leaky_relu"
    """Activation between the convolutions of Table 1; `none` follows the table literally, a single affine map."""
    a2e_epochs: int = Field(default=60, ge=0, le=10000)
    """Largest number of passes over the training frames; 0 keeps the closed-form initialisation."""
    a2e_patience: int = Field(default=12, ge=1)
    """Epochs without improvement of the held-out loss before training stops."""
    a2e_batch_size: int = Field(default=32, ge=1)
    """Frames in one training step of A2E."""
    a2e_learning_rate: float = Field(default=3e-4, gt=0, le=1)
    """Learning rate of Adam in A2E's training."""
    a2e_held_out_fraction: float = Field(default=0.15, gt=0, lt=1)
    """Share of the pseudo utterances held out from training, at least one utterance."""


class RendererConfig(StageConfig):
    """Parameters of stage 05: train the neural face renderer and run the test phase."""

    driving_audio: str = ""
    """Path of the recording to speak; if empty, a synthetic voice speaks `driving_text`."""
    driving_text: str = "Give me any recording, and my lips will follow every word of it."
    """Text for the synthetic voice, used when `driving_audio` is empty."""
    driving_voice: str = "en-us+belinda"
    """espeak-ng voice that speaks `driving_text`."""
    renderer_references: int = Field(default=3, ge=0, le=8)
    """Number of real frames that are warped to the drawn face as input of the network; the last of several is chosen by
    pose. 0 is a plain U-Net without references, as in the paper."""
    renderer_background_flow: bool = True
    """Align the references with the pixels around the mask; false moves neck, hair and background with the face."""
    renderer_bank: int = Field(default=200, ge=1)
    """Size of the bank of frames that references are chosen from; it holds the frames that differ most."""
    renderer_frames: int = Field(default=1500, ge=1)
    """Largest number of training frames; a longer video contributes the runs of 15 frames that differ most."""
    renderer_prior: bool = True
    """Start from the included generator prior, trained on many people; false starts from random weights."""
    renderer_window: int = Field(default=1, ge=1, le=15)
    """Consecutive synthetic frames in the input of the network, odd; the paper's code takes 7."""
    renderer_width: int = Field(default=32, ge=1, le=128)
    """Channels of the U-Net's first level; the paper uses 64."""
    renderer_depth: int = Field(default=4, ge=2, le=8)
    """Number of downsamplings in the U-Net; the sides of the painted rectangle are multiples of 2 to this power."""
    renderer_refine: bool = False
    """Use the refinement blocks of the paper's code, at three times the cost; only without references."""
    renderer_colour_match: bool = True
    """Match the painted colours to those of the skin around the mask; only with references."""
    renderer_steps: int = Field(default=200, ge=1)
    """Optimiser steps of the renderer; without the prior, use twice as many."""
    renderer_batch: int = Field(default=4, ge=1)
    """Frames in one training step of the renderer."""
    renderer_patch: int = Field(default=128, ge=0)
    """Side of the square training patches, px; 0 takes the whole rectangle."""
    renderer_learning_rate: float = Field(default=5.0e-4, gt=0)
    """Initial learning rate of the renderer; it decays along a cosine."""
    renderer_edge_weight: float = Field(default=0.5, ge=0)
    """Weight of the gradient difference loss, which puts edges in their place."""
    renderer_detail_weight: float = Field(default=4.0, ge=0)
    """Weight of the local sharpness loss, which asks for as much detail as the real image has."""
    renderer_motion_weight: float = Field(default=0.0, ge=0)
    """Weight of the loss on changes from frame to frame; above 0, batches consist of pairs of consecutive frames."""
    renderer_gan_weight: float = Field(default=0.002, ge=0)
    """Weight of the adversarial loss, lambda of Eq. 4; 0 trains without a discriminator."""
    renderer_gan_start: float = Field(default=0.5, ge=0, le=1)
    """Fraction of the steps after which adversarial training begins."""
    renderer_gan_width: int = Field(default=16, ge=1, le=128)
    """Channels of the discriminator's first layer; the paper uses 64."""
    renderer_gan_scales: int = Field(default=1, ge=1, le=4)
    """Number of image scales with a discriminator each."""
    renderer_feature_weight: float = Field(default=0.0, ge=0)
    """Weight of the feature matching loss, in units of `renderer_gan_weight`."""
    renderer_ablation_steps: int = Field(default=60, ge=0)
    """Steps of each training in notebook 05's ablation, which changes one choice at a time; 0 skips it."""
    renderer_devices: int = Field(default=1, ge=1)
    """Number of accelerators for the training of the renderer."""
    renderer_checkpoint_steps: int = Field(default=100, ge=1)
    """Steps between checkpoints, from which a killed training resumes; one is written at least every 30 s."""


class EvaluationConfig(StageConfig):
    """Parameters of stage 06: compute the paper's tables."""

    evaluation_seconds: float = Field(default=20.0, gt=0)
    """Largest length of the held-out end of the video used for evaluation, s."""
    audiodvp_width: int = Field(default=16, ge=1, le=128)
    """Channels of the first level of the AudioDVP baseline's U-Net; the published code uses 64."""
    audiodvp_depth: int = Field(default=5, ge=2, le=8)
    """Downsamplings in AudioDVP's U-Net; the published 8 paints the whole 256 px square, fewer only the mask's part."""
    audiodvp_refine: bool = False
    """Use the published refinement blocks in the AudioDVP baseline's U-Net, at three times the cost."""
    audiodvp_steps: int = Field(default=400, ge=1)
    """Optimiser steps of the AudioDVP baseline's renderer."""
    audiodvp_batch: int = Field(default=2, ge=1)
    """Frames in one training step of the AudioDVP baseline."""
    audiodvp_learning_rate: float = Field(default=1.0e-3, gt=0)
    """Initial learning rate of the AudioDVP baseline's renderer; the published 2.0e-4 needs days, not minutes."""
    audiodvp_equal_time: bool = False
    """Train AudioDVP's renderer for as long as stage 05 trained ours, regardless of `audiodvp_steps`."""
    compared_weights: Literal["auto", "open", "official"] = "auto"
    """Weights of ATVG, Wav2Lip and MakeItTalk: `open` (ours), `official` (published), `auto`: published if placed."""
    judging_recordings: int = Field(default=2, ge=1, le=4)
    """Number of recordings of other people on which LSE is measured, in addition to stage 05's."""
    judging_seconds: float = Field(default=6.0, gt=1)
    """Length of each of these recordings, s."""
    lip_sync_network: Literal["auto", "open", "syncnet"] = "auto"
    """SyncNet that measures LSE: `open` (this project's), `syncnet` (published), `auto`: published if placed."""
    lip_sync_recipe: Literal["tracker", "s3fd"] = "tracker"
    """Method that crops the face for SyncNet; `s3fd` is the published one and needs its weights."""
    frechet_network: Literal["auto", "open", "inception"] = "auto"
    """Features of the Fréchet distance: `open` face network (FFD), `inception` (FID), `auto`: Inception if placed."""
    controls_must_hold: bool = False
    """Stop if a measure's control rows come out in the wrong order; false reports it and continues."""

    @property
    def takes_what_is_placed(self) -> bool:
        """Whether one of the two networks or the compared methods' weights is `auto`."""
        return "auto" in (self.compared_weights, self.lip_sync_network, self.frechet_network)


class UserStudyConfig(StageConfig):
    """Parameters of stage 07: the user study with blinded ratings."""

    study_characters: str = Field(default="", pattern=r"^$|^[A-Za-z0-9_-]{1,40}(,[A-Za-z0-9_-]{1,40})*$")
    """Characters whose clips are rated together, such as `A,B,C`; empty takes `character` alone."""
    clip_seconds: float = Field(default=15.0, gt=0)
    """Largest length of a clip in the study, s."""


STAGE_CONFIGS: dict[str, type[StageConfig]] = {
    "01_crop": CropConfig,
    "02_pseudo_video": PseudoVideoConfig,
    "03_reconstruction": ReconstructionConfig,
    "04_audio_to_expression": AudioToExpressionConfig,
    "05_neural_renderer": RendererConfig,
    "06_evaluation": EvaluationConfig,
    "07_user_study": UserStudyConfig,
}


RENAMED_PARAMETERS = {
    "fit_surroundings": "renderer_background_flow",
    "colour_match": "renderer_colour_match",
    "edge_weight": "renderer_edge_weight",
    "detail_weight": "renderer_detail_weight",
    "motion_weight": "renderer_motion_weight",
    "gan_weight": "renderer_gan_weight",
    "gan_start": "renderer_gan_start",
    "gan_width": "renderer_gan_width",
    "gan_scales": "renderer_gan_scales",
    "feature_weight": "renderer_feature_weight",
    "ablation_steps": "renderer_ablation_steps",
    "checkpoint_steps": "renderer_checkpoint_steps",
}
"""Former names of parameters to their present ones."""


def known_parameters() -> frozenset[str]:
    """Names that at least one stage declares."""
    return frozenset(name for config in STAGE_CONFIGS.values() for name in config.model_fields)


def check_known(values: Mapping[str, Any]) -> None:
    """Reject names that no stage declares.

    Raises:
        ParameterError: an unknown key; the message gives the nearest valid one.
    """
    known = sorted(known_parameters())
    for name in values:
        if name in RENAMED_PARAMETERS:
            raise ParameterError(f"the parameter `{name}` is called `{RENAMED_PARAMETERS[name]}` now. Rename it.")
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"Did you mean `{near[0]}`?" if near else f"Valid names: {', '.join(known)}."
            raise ParameterError(
                f"unknown parameter `{name}` (value {values[name]!r}): no notebook declares it. {hint}"
            )


def _looks_like_parameter(name: str, value: Any) -> bool:
    """Whether a global name may be a parameter; imports, IPython's own names and private names are not."""
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
