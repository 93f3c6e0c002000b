"""Blinded, seeded, balanced ratings of finished clips in the browser, stored in SQLite, and Table 4 from what was
rated.

A rater sees a clip under a token that says neither method nor character, answers two questions (realism and definition
from 1 to 5; in sync, yes or no) and gets the next clip. Every rating is committed at once; who comes back goes on
where she stopped. Nothing is ever rated by anything but a person: without ratings the table says so.
"""

import hashlib
import itertools
import json
import random
import re
import shutil
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from metatalk_lib.artifacts import atomic_path, load_json, sha256_file
from metatalk_lib.audio import read_audio
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.intervals import bootstrap_interval, wilson_interval
from metatalk_lib.paths import ensure_dir
from metatalk_lib.video import probe_video, read_frames, write_video

RATINGS_FILE = "ratings.sqlite"
SCALE = (1, 2, 3, 4, 5)
PARTICIPANT_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,40}")

SCHEMA = """
CREATE TABLE IF NOT EXISTS clips (
    token TEXT PRIMARY KEY, method TEXT NOT NULL, character TEXT NOT NULL, audio TEXT NOT NULL, active INTEGER NOT
    NULL);
CREATE TABLE IF NOT EXISTS participants (
    name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS study (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1), seed INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ratings (
    participant TEXT NOT NULL REFERENCES participants(name), token TEXT NOT NULL REFERENCES clips(token),
    realism INTEGER NOT NULL CHECK (realism BETWEEN 1 AND 5), in_sync INTEGER NOT NULL CHECK (in_sync IN (0, 1)),
    rated_at TEXT NOT NULL, PRIMARY KEY (participant, token));
"""


@dataclass(frozen=True)
class StudyClip:
    """One finished video to be rated.

    Attributes:
        method: what made it, such as `Ours`.
        character: whose face it shows.
        audio: name of the recording it speaks.
        path: the video file, with its audio.
    """

    method: str
    character: str
    audio: str
    path: Path


class DuplicateRatingError(ParameterError):
    """This participant has rated this clip already; the first rating stands."""


def create_study(clips: Sequence[StudyClip], study_dir: Path, *, seed: int, max_seconds: float | None = None) -> Path:
    """Copy the clips under blind names and open the ratings file; ratings that exist are kept.

    A clip's token is a hash of the seed, what the clip is, and its bytes: the same video keeps its ratings when the
    study is made again, and a video that was made anew starts without any.

    Args:
        clips: what to rate; one for each method, character and recording.
        study_dir: folder for `ratings.sqlite` and `clips/`.
        seed: fixes tokens and orders.
        max_seconds: longer clips are cut here, and encoded once more; the paper shows 15 s.

    Returns:
        Path of `ratings.sqlite`.

    Raises:
        ParameterError: no clips, or two of the same method, character and recording.
        DataError: a video does not exist, or the folder cannot be written.

    Source: paper, section 3 and Table 4; blinding and balancing are original to this project.
    """
    if not clips:
        raise ParameterError("user study: there are no clips to rate. Run 05 and 06 first.")
    keys = [(clip.method, clip.character, clip.audio) for clip in clips]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ParameterError(f"user study: more than one clip of {' / '.join(twice[0])}. Leave one.")
    clips_dir = ensure_dir(study_dir / "clips")
    tokens = {clip: _make_token(clip, seed) for clip in clips}
    for clip, token in tokens.items():
        target = clips_dir / f"{token}.mp4"
        if not target.exists():
            _copy_clip(clip.path, target, max_seconds)
    database = study_dir / RATINGS_FILE
    with _open_database(database) as connection:
        connection.executescript(SCHEMA)
        _register_clips(connection, tokens, seed)
    return database


def _register_clips(connection: sqlite3.Connection, tokens: Mapping[StudyClip, str], seed: int) -> None:
    """Make these clips the ones to rate; a study that has them already stays as it is, byte for byte."""
    rows = [(token, clip.method, clip.character, clip.audio) for clip, token in tokens.items()]
    active = connection.execute("SELECT token, method, character, audio FROM clips WHERE active = 1").fetchall()
    if sorted(active) == sorted(rows) and connection.execute("SELECT seed FROM study").fetchall() == [(seed,)]:
        return
    connection.execute("INSERT OR REPLACE INTO study VALUES (1, ?)", (seed,))
    connection.execute("UPDATE clips SET active = 0")
    connection.executemany(
        "INSERT INTO clips VALUES (?, ?, ?, ?, 1) ON CONFLICT (token) DO UPDATE SET active = 1", rows
    )


def find_clips(outputs_dir: Path, characters: Sequence[str]) -> list[StudyClip]:
    """The clips that stage 06 listed in `clips.json`: method, recording and file of each.

    Args:
        outputs_dir: folder of all characters.
        characters: whose clips are rated together.

    Raises:
        DataError: a character's stage 06 is not finished, or a listed video does not exist.
    """
    clips = []
    for character in characters:
        folder = outputs_dir / character / "06_evaluation"
        if not (folder / "summary.json").is_file():
            raise DataError(f"07_user_study: 06_evaluation is not finished for character {character}. Run it first.")
        for entry in load_json(folder / "clips.json"):
            path = (folder / entry["file"]).resolve()
            if not path.is_file():
                raise DataError(f"07_user_study: {path} of {entry['method']} does not exist. Run 06_evaluation again.")
            clips.append(StudyClip(entry["method"], character, entry["audio"], path))
    return clips


def session_order(clips: Sequence[tuple[str, str]], *, participant_number: int, seed: int) -> list[str]:
    """Order in which one participant sees the clips.

    Each round shows one clip of every method; the order of methods turns by one place from participant to participant
    (a Latin square, so that no method is always first), and each method's clips are shuffled for each participant.

    Args:
        clips: (token, method) of each clip.
        participant_number: 0 for the first participant, and so on.
        seed: of the study.

    Returns:
        All tokens, each once.

    Source: Original to this project.
    """
    generator = random.Random(f"{seed}/{participant_number}")
    methods = sorted({method for _, method in clips})
    random.Random(seed).shuffle(methods)
    turn = participant_number % len(methods)
    columns = []
    for method in methods[turn:] + methods[:turn]:
        tokens = sorted(token for token, other in clips if other == method)
        generator.shuffle(tokens)
        columns.append(tokens)
    return [token for row in itertools.zip_longest(*columns) for token in row if token is not None]


def load_clips(database: Path) -> list[tuple[str, str]]:
    """(token, method) of the study's present clips.

    Raises:
        DataError: there is no study.
    """
    with _open_existing(database) as connection:
        return connection.execute("SELECT token, method FROM clips WHERE active = 1 ORDER BY token").fetchall()


def next_clip(database: Path, participant: str) -> tuple[str | None, int, int]:
    """The clip a participant is to rate next; a new participant is registered.

    Args:
        database: path of `ratings.sqlite`.
        participant: name chosen by the rater: letters, digits, `_`, `-`.

    Returns:
        Token, or None when all are rated; number of clips rated so far; number of clips.

    Raises:
        ParameterError: the name is not allowed.
        DataError: there is no study.
    """
    _check_participant(participant)
    with _open_existing(database) as connection:
        connection.execute(
            "INSERT OR IGNORE INTO participants SELECT ?, COALESCE(MAX(number) + 1, 0) FROM participants",
            (participant,),
        )
        (number,) = connection.execute("SELECT number FROM participants WHERE name = ?", (participant,)).fetchone()
        (seed,) = connection.execute("SELECT seed FROM study").fetchone()
        rows = connection.execute("SELECT token FROM ratings WHERE participant = ?", (participant,)).fetchall()
    rated = {row[0] for row in rows}
    order = session_order(load_clips(database), participant_number=number, seed=seed)
    left = [token for token in order if token not in rated]
    return (left[0] if left else None), len(order) - len(left), len(order)


def add_rating(database: Path, *, participant: str, token: str, realism: int, in_sync: bool) -> None:
    """Store one rating at once.

    Args:
        database: path of `ratings.sqlite`.
        participant: a registered participant.
        token: a clip of the study.
        realism: realism and definition, 1 (worst) to 5 (best).
        in_sync: whether lips and audio fit.

    Raises:
        ParameterError: an answer is missing or out of range, or participant or clip is unknown.
        DuplicateRatingError: this participant has rated this clip already.
        DataError: there is no study.
    """
    _check_participant(participant)
    if realism not in SCALE:
        raise ParameterError(f"realism must be a whole number from 1 to 5, got {realism!r}.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with _open_existing(database) as connection:
        if not connection.execute("SELECT 1 FROM clips WHERE token = ? AND active = 1", (token,)).fetchone():
            raise ParameterError(f"no clip `{token}` in this study.")
        if not connection.execute("SELECT 1 FROM participants WHERE name = ?", (participant,)).fetchone():
            raise ParameterError(f"no participant `{participant}` in this study. Ask for a first clip before rating.")
        try:
            connection.execute(
                "INSERT INTO ratings VALUES (?, ?, ?, ?, ?)", (participant, token, realism, int(in_sync), now)
            )
        except sqlite3.IntegrityError as error:
            raise DuplicateRatingError(f"participant `{participant}` has rated the clip `{token}` already.") from error


def load_ratings(database: Path) -> pd.DataFrame:
    """All ratings of the study's present clips: participant, method, character, audio, realism, in_sync, rated_at.

    Raises:
        DataError: there is no study.
    """
    query = (
        "SELECT participant, method, character, audio, realism, in_sync, rated_at FROM ratings "
        "JOIN clips USING (token) WHERE active = 1 ORDER BY participant, rated_at, token"
    )
    with _open_existing(database) as connection:
        rows = connection.execute(query)
        return pd.DataFrame(rows.fetchall(), columns=[column[0] for column in rows.description])


def export_ratings(database: Path, path: Path) -> int:
    """Write all ratings of the study's present clips as CSV, and return their number.

    Raises:
        DataError: there is no study.
    """
    ratings = load_ratings(database)
    with atomic_path(path) as temporary:
        ratings.to_csv(temporary, index=False)
    return len(ratings)


def compute_table4(database: Path, *, seed: int = 0) -> pd.DataFrame:
    """The paper's Table 4 from the ratings so far, with 95 % intervals.

    Args:
        database: path of `ratings.sqlite`.
        seed: of the bootstrap.

    Returns:
        One row a method of the study: `Average` (1 to 5, higher is better) with `low` and `high` from resampling
        participants (not given for a single participant); shares of the ratings 1 to 5 in %; `sync %` with Wilson
        `sync low`, `sync high`, which take the ratings as independent; `ratings`, `participants`; `note` says
        `no ratings yet` where there are none, and the figures are then empty.

    Raises:
        DataError: there is no study.

    Source: paper, Table 4; the intervals are added.
    """
    ratings = load_ratings(database)
    with _open_existing(database) as connection:
        methods = [
            row[0] for row in connection.execute("SELECT DISTINCT method FROM clips WHERE active = 1 ORDER BY method")
        ]
    rows = [_summarise(ratings[ratings["method"] == method], seed) for method in methods]
    return pd.DataFrame(rows, index=pd.Index(methods, name="Method"))


def _summarise(ratings: pd.DataFrame, seed: int) -> dict[str, object]:
    count, nothing = len(ratings), float("nan")
    low, high = bootstrap_interval(ratings, seed=seed) if count else (nothing, nothing)
    synced = int(ratings["in_sync"].sum())
    sync_low, sync_high = wilson_interval(synced, count) if count else (nothing, nothing)
    shares = {f"{k} %": 100 * float((ratings["realism"] == k).mean()) if count else nothing for k in SCALE}
    return {
        "Average": float(ratings["realism"].mean()) if count else nothing,
        "low": low,
        "high": high,
        **shares,
        "sync %": 100 * synced / count if count else nothing,
        "sync low": 100 * sync_low,
        "sync high": 100 * sync_high,
        "ratings": count,
        "participants": int(ratings["participant"].nunique()),
        "note": "" if count else "no ratings yet",
    }


def _copy_clip(path: Path, target: Path, max_seconds: float | None) -> None:
    if max_seconds is not None:
        info = probe_video(path)
        frames = round(max_seconds * info.fps)
        if info.frame_count > frames:
            sound = read_audio(path) if info.has_audio else None
            write_video(target, read_frames(path, 0, frames), fps=info.fps, audio=sound)
            return
    with atomic_path(target) as temporary:
        shutil.copyfile(path, temporary)


def _make_token(clip: StudyClip, seed: int) -> str:
    if not clip.path.is_file():
        raise DataError(f"user study: the clip {clip.path} of {clip.method} does not exist. Run 05 and 06 again.")
    content = json.dumps([seed, clip.method, clip.character, clip.audio, sha256_file(clip.path)])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _check_participant(participant: str) -> None:
    if not isinstance(participant, str) or not PARTICIPANT_PATTERN.fullmatch(participant):
        raise ParameterError(f"participant must be 1 to 40 letters, digits, `_` or `-`, got {participant!r}.")


@contextmanager
def _open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that commits on success, rolls back on failure, and is closed either way."""
    connection = sqlite3.connect(path, timeout=30)
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        with connection:
            yield connection
    except sqlite3.DatabaseError as error:
        raise DataError(f"{path} cannot be used as a ratings file ({error}). Move it away and run 07 again.") from error
    finally:
        connection.close()


@contextmanager
def _open_existing(path: Path) -> Iterator[sqlite3.Connection]:
    if not path.is_file():
        raise DataError(f"{path} does not exist. Run notebooks/07_user_study.ipynb to make the study.")
    with _open_database(path) as connection:
        yield connection
