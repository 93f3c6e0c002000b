"""The ratings in SQLite: every rating is committed at once, and who comes back goes on where they stopped."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from metatalk_lib.core.artifacts import atomic_path
from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.paths import ensure_dir
from metatalk_lib.user_study.design import StudyClip, copy_clip, make_token, session_order

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


class DuplicateRatingError(ParameterError):
    """The participant has already rated this clip; the first rating stands."""


def create_study(clips: Sequence[StudyClip], study_dir: Path, *, seed: int, max_seconds: float | None = None) -> Path:
    """Copy the clips under blind names and create the ratings database; existing ratings are kept.

    The token of a clip is a hash of the seed, the clip's description and its bytes: an unchanged video keeps its
    ratings when the study is recreated, and a changed one starts without ratings.

    Args:
        clips: clips to rate; one for each method, character and recording.
        study_dir: folder for `ratings.sqlite` and `clips/`.
        seed: seed of tokens and orders.
        max_seconds: length to which longer clips are cut, with re-encoding, s; the paper shows 15 s.

    Returns:
        Path of `ratings.sqlite`.

    Raises:
        ParameterError: there are no clips, or two with the same method, character and recording.
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
    tokens = {clip: make_token(clip, seed) for clip in clips}
    for clip, token in tokens.items():
        target = clips_dir / f"{token}.mp4"
        if not target.exists():
            copy_clip(clip.path, target, max_seconds)
    database = study_dir / RATINGS_FILE
    with _open_database(database) as connection:
        connection.executescript(SCHEMA)
        _register_clips(connection, tokens, seed)
    return database


def _register_clips(connection: sqlite3.Connection, tokens: Mapping[StudyClip, str], seed: int) -> None:
    """Replace the clips to rate; a study that already has these clips stays unchanged, byte for byte."""
    rows = [(token, clip.method, clip.character, clip.audio) for clip, token in tokens.items()]
    active = connection.execute("SELECT token, method, character, audio FROM clips WHERE active = 1").fetchall()
    if sorted(active) == sorted(rows) and connection.execute("SELECT seed FROM study").fetchall() == [(seed,)]:
        return
    connection.execute("INSERT OR REPLACE INTO study VALUES (1, ?)", (seed,))
    connection.execute("UPDATE clips SET active = 0")
    connection.executemany(
        "INSERT INTO clips VALUES (?, ?, ?, ?, 1) ON CONFLICT (token) DO UPDATE SET active = 1", rows
    )


def load_clips(database: Path) -> list[tuple[str, str]]:
    """Load (token, method) of the study's current clips.

    Raises:
        DataError: there is no study.
    """
    with open_existing(database) as connection:
        return connection.execute("SELECT token, method FROM clips WHERE active = 1 ORDER BY token").fetchall()


def next_clip(database: Path, participant: str) -> tuple[str | None, int, int]:
    """Choose the clip that a participant rates next; a new participant is registered.

    Args:
        database: path of `ratings.sqlite`.
        participant: name chosen by the rater, of letters, digits, `_` and `-`.

    Returns:
        Token, or None if all clips are rated; number of clips rated so far; number of clips.

    Raises:
        ParameterError: the name is not allowed.
        DataError: there is no study.
    """
    _check_participant(participant)
    with open_existing(database) as connection:
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
    """Store one rating immediately.

    Args:
        database: path of `ratings.sqlite`.
        participant: a registered participant.
        token: token of a clip of the study.
        realism: rating of realism and definition, 1 (worst) to 5 (best).
        in_sync: whether lips and audio match.

    Raises:
        ParameterError: an answer is missing or out of range, or the participant or clip is unknown.
        DuplicateRatingError: the participant has already rated this clip.
        DataError: there is no study.
    """
    _check_participant(participant)
    if realism not in SCALE:
        raise ParameterError(f"realism must be a whole number from 1 to 5, got {realism!r}.")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with open_existing(database) as connection:
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
    """Load all ratings of the current clips: participant, method, character, audio, realism, in_sync, rated_at.

    Raises:
        DataError: there is no study.
    """
    query = (
        "SELECT participant, method, character, audio, realism, in_sync, rated_at FROM ratings "
        "JOIN clips USING (token) WHERE active = 1 ORDER BY participant, rated_at, token"
    )
    with open_existing(database) as connection:
        rows = connection.execute(query)
        return pd.DataFrame(rows.fetchall(), columns=[column[0] for column in rows.description])


def export_ratings(database: Path, path: Path) -> int:
    """Write all ratings of the study's current clips as CSV, and return their number.

    Raises:
        DataError: there is no study.
    """
    ratings = load_ratings(database)
    with atomic_path(path) as temporary:
        ratings.to_csv(temporary, index=False)
    return len(ratings)


def _check_participant(participant: str) -> None:
    if not isinstance(participant, str) or not PARTICIPANT_PATTERN.fullmatch(participant):
        raise ParameterError(f"participant must be 1 to 40 letters, digits, `_` or `-`, got {participant!r}.")


@contextmanager
def _open_database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a connection that commits on success, rolls back on failure, and is closed in either case."""
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
def open_existing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the database of an existing study.

    Raises:
        DataError: it does not exist.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist. Run notebooks/07_user_study.ipynb to make the study.")
    with _open_database(path) as connection:
        yield connection
