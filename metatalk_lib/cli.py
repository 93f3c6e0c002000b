"""The `metatalk` command: thin wrappers around the functions that the notebooks call too."""

import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from metatalk_lib import __version__
from metatalk_lib.core import assets
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.errors import MetaTalkError, ParameterError
from metatalk_lib.core.params import character_params_path, count_from, load_params, profile_params_path
from metatalk_lib.core.paths import resolve_path, stage_dir
from metatalk_lib.core.stage_configs import CHARACTERS, StageConfig

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
assets_app = typer.Typer(no_args_is_help=True, help="What models and data are used, and where official ones must lie.")
study_app = typer.Typer(no_args_is_help=True, help="The user study: collect ratings, compute Table 4.")
app.add_typer(assets_app, name="assets")
app.add_typer(study_app, name="study")

Outputs = Annotated[
    Path | None, typer.Option("--outputs", help="Folder of all characters; `outputs` of the project by default.")
]


def _print_version(is_asked: bool) -> bool:
    if is_asked:
        print(f"metatalk {__version__}")
        raise typer.Exit
    return is_asked


@app.callback()
def describe(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Make the person in a video speak any recording, and judge how well it was done."""


@app.command("run")
def run_notebooks(
    character: Annotated[list[str] | None, typer.Option(help="Name of a file in params/; may be repeated.")] = None,
    run_all: Annotated[bool, typer.Option("--all", help="All characters A to G.")] = False,
    profile: Annotated[str, typer.Option(help="Name of a file in params/profiles/.")] = "demo",
    first: Annotated[str | None, typer.Option("--from", help="First stage, such as 03.")] = None,
    last: Annotated[str | None, typer.Option("--to", help="Last stage.")] = None,
    param: Annotated[list[str] | None, typer.Option("-p", help="name=value, as in YAML; wins over the files.")] = None,
    force: Annotated[bool, typer.Option(help="Rerun what is up to date, too.")] = False,
) -> None:
    """Run the notebooks for one or more characters."""
    from metatalk_lib.core.notebook_runner import run_character, select_stages

    names = list(CHARACTERS) if run_all else character or []
    if not names:
        raise ParameterError("no character given. Add --character A (may be repeated) or --all.")
    stages = select_stages(first, last)
    overrides = count_from(Path.cwd(), dict(_parse_assignment(text) for text in param or []))
    resolved = [
        {"character": name}
        | load_params(character_params_path(name), profile_params_path(profile), overrides=overrides)
        for name in names
    ]
    for values in resolved:
        run_character(values, stages, force=force)
        _print_results(values, stages)
    if len(names) > 1 and "06_evaluation" in stages:
        from metatalk_lib.reporting.characters import write_tables

        config = StageConfig.from_values(resolved[0])
        folder = write_tables(resolve_path(config.outputs_dir), seed=config.seed, asked=names)
        print(f"Tables of all characters: {folder}")


@app.command("preflight")
def check_video(
    video: Annotated[Path, typer.Argument(help="The video of a person.")],
    face_position: Annotated[str, typer.Option(help="only, largest, left, right or centre.")] = "only",
) -> None:
    """Check whether a video is good enough to make a talking face from, before spending time on it."""
    from metatalk_lib.tracking.preflight import run_preflight

    report = run_preflight(video, face_position=face_position)
    print(report.table())
    if not report.is_usable:
        raise typer.Exit(1)


@app.command("talk")
def speak_recordings(
    character: Annotated[str, typer.Option(help="A character whose stages 01 to 05 are finished.")],
    audio: Annotated[list[Path], typer.Option(help="A recording, or a folder of them; may be repeated.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The video; of several recordings, a folder.")],
    start_frame: Annotated[int, typer.Option(help="Source frame shown first.")] = 0,
    preview: Annotated[bool, typer.Option(help="Half the size, for a quick look.")] = False,
    crf: Annotated[
        int | None, typer.Option(min=0, max=63, help="The encoder's rate factor; visually lossless by default.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where the painting runs.")] = "auto",
    outputs: Outputs = None,
) -> None:
    """Make the character speak recordings. A run that was killed goes on where it stopped, in a batch, too."""
    from metatalk_lib.core.stage import choose_device
    from metatalk_lib.talk.requests import check_recordings, check_talk, gather_recordings, name_outputs
    from metatalk_lib.talk.talker import Talker

    recordings = gather_recordings(audio, output)
    videos = name_outputs(recordings, output)
    for recording, video in zip(recordings, videos, strict=True):
        check_talk(recording, video)
    talker = Talker(_locate(outputs) / character, device=choose_device(device))
    if len(recordings) > 1:  # a single one is looked through when it is spoken
        check_recordings(recordings)
    for recording, video in zip(recordings, videos, strict=True):
        report = talker.speak(recording, video, start_frame=start_frame, preview=preview, crf=crf)
        print(report.describe())


@app.command("compare")
def score_videos_against(
    videos: Annotated[list[Path], typer.Argument(help="The videos to judge.")],
    reference: Annotated[Path, typer.Option(help="The true video: same size, rate and length.")],
    audio: Annotated[Path | None, typer.Option(help="What all lips should say; else each video's own sound.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A .csv; .html and .tex go beside it.")] = None,
    network: Annotated[str, typer.Option(help="SyncNet that measures LSE: auto, open or syncnet.")] = "auto",
    recipe: Annotated[str, typer.Option(help="Its face crops: tracker, or s3fd as published.")] = "tracker",
    frechet: Annotated[str, typer.Option(help="Features of the Fréchet distance: auto, open or inception.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda: where networks run.")] = "auto",
) -> None:
    """Score videos against the true one: pictures, faces, lips and their synchrony, with control rows."""
    from metatalk_lib.core.stage import choose_device
    from metatalk_lib.evaluation.comparison import compare_videos, find_comparison_failures, name_videos
    from metatalk_lib.evaluation.controls import describe_verdict
    from metatalk_lib.evaluation.frechet_judge import load_frechet_judge
    from metatalk_lib.evaluation.lse_judge import load_judge
    from metatalk_lib.reporting.tables import save_table

    if output and output.suffix != ".csv":
        raise ParameterError(f"the table {output} must end in .csv.")
    place = choose_device(device)
    table = compare_videos(
        name_videos(videos),
        reference,
        lip_sync=load_judge(network, recipe, device=place),
        frechet=load_frechet_judge(frechet, device=place),
        audio=audio,
    )
    print(table.round(4).to_string())
    print(f"Controls: {describe_verdict(find_comparison_failures(table, reference))}.")
    if output:
        save_table(table, output, caption=f"Measured against {reference.name}: whole frame, mask from its landmarks.")


@assets_app.command("list")
def assets_list() -> None:
    """List every asset with its tier, purpose, licence and status."""
    for asset in assets.ASSETS:
        status = "packaged" if asset.path is None else "present" if asset.is_present else "missing"
        print(f"{asset.name:20} {asset.tier:9} {status:9} {asset.purpose}. {asset.source}. Licence: {asset.licence}")


@assets_app.command("verify")
def assets_verify() -> None:
    """Check the files that are present against their known checksums."""
    for asset in assets.ASSETS:
        print(f"{asset.name:20} {assets.verify_asset(asset)}")


@assets_app.command("where")
def assets_where(
    name: Annotated[str, typer.Argument(help="An asset's name, as `metatalk assets list` shows it.")],
) -> None:
    """Print where a file may be placed; the first of the printed places that holds it is used."""
    asset = assets.find_asset(name)
    print("\n".join(map(str, asset.places)) or f"inside the installed package ({asset.source})")


@study_app.command("serve")
def study_serve(
    character: Annotated[str, typer.Option(help="The character whose stage 07 made the study.")],
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="TCP port; 8765 by default.")] = None,
    outputs: Outputs = None,
) -> None:
    """Serve the rating page on this machine until interrupted."""
    from metatalk_lib.user_study.server import DEFAULT_PORT, serve_study

    serve_study(stage_dir(_locate(outputs), character, "07_user_study"), port=port or DEFAULT_PORT)


@study_app.command("report")
def study_report(
    character: Annotated[str, typer.Option(help="The character whose stage 07 made the study.")],
    outputs: Outputs = None,
) -> None:
    """Print Table 4 from the ratings collected so far."""
    from metatalk_lib.user_study.analysis import compute_table4

    print(compute_table4(stage_dir(_locate(outputs), character, "07_user_study") / "ratings.sqlite").to_string())


def main() -> None:
    """Run the command; a MetaTalkError becomes one line on stderr and exit code 1."""
    try:
        app()
    except MetaTalkError as error:
        print(f"metatalk: {error}", file=sys.stderr)
        sys.exit(1)


def _locate(outputs: Path | None) -> Path:
    """The folder of all characters: one that was given counts from the working folder."""
    return resolve_path("outputs") if outputs is None else Path.cwd() / outputs.expanduser()


def _parse_assignment(text: str) -> tuple[str, object]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ParameterError(f"-p {text}: expected name=value, such as -p seed=1.")
    return name, yaml.safe_load(value)


def _print_results(values: dict, stages: tuple[str, ...]) -> None:
    folder = resolve_path(values.get("outputs_dir", "outputs")) / values["character"]
    print(f"\nExecuted notebooks: {folder / 'notebooks'}")
    for path in sorted(folder.glob("05_neural_renderer/talk_*.mp4")) if "05_neural_renderer" in stages else []:
        print(f"Video:              {path}")
    for path in sorted(folder.glob("0[67]_*/table*.csv")) if "06_evaluation" in stages else []:
        print(f"Table:              {path}")
    for name in stages:
        summary = folder / name / "summary.json"
        found = load_json(summary).get("findings", []) if summary.is_file() else []
        for finding in found:
            if finding["status"] != "ok":
                print(f"Finding of {name[:2]}:      {finding['name']} {finding['figure']}. {finding['advice']}")
