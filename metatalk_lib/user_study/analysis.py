"""Table 4 from the ratings."""

from pathlib import Path

import pandas as pd

from metatalk_lib.metrics.intervals import bootstrap_interval, wilson_interval
from metatalk_lib.user_study.store import SCALE, load_ratings, open_existing


def compute_table4(database: Path, *, seed: int = 0) -> pd.DataFrame:
    """Compute the paper's Table 4 from the ratings so far, with 95 % intervals.

    Args:
        database: path of `ratings.sqlite`.
        seed: seed of the bootstrap.

    Returns:
        One row for each method: `Average` (1 to 5, higher is better) with `low` and `high` from resampling participants
        (absent for a single participant); shares of the ratings 1 to 5 in %; `sync %` with Wilson intervals `sync low`,
        `sync high`, which treat the ratings as independent; `ratings`, `participants`; `note` is `no ratings yet` if
        there are none, and the values are then empty.

    Raises:
        DataError: there is no study.

    Source: paper, Table 4; the intervals are added.
    """
    ratings = load_ratings(database)
    with open_existing(database) as connection:
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
