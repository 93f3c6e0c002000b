"""What Tables 2 and 3 say in words: where ours loses, and where the ablation moves otherwise than the paper's."""

from collections.abc import Mapping, Sequence

from metatalk_lib.intervals import to_estimate
from metatalk_lib.metric_catalogue import find_metric, is_better
from metatalk_lib.tables import ABLATIONS, Scores, average_characters, load_paper_tables

BASELINE = ABLATIONS[0]


def describe_against_baseline(ablations: Mapping[str, Scores], measures: Sequence[str]) -> str:
    """Where `Ours` is not better than the AudioDVP configuration, a line a character, and on how many it is in all.

    Args:
        ablations: character to row of Table 3 to metric to value.
        measures: those that are asked about; one that a row lacks is said to be missing, and is no win.
    """
    lines, wins = [], 0
    for character, rows in ablations.items():
        pairs = _pair(rows, "Ours", measures)
        lost = [f"{name} ({a:.4g} against {b:.4g})" for name, (a, b) in pairs.items() if not is_better(name, a, b)]
        lost += [f"{name} (not measured)" for name in measures if name not in pairs]
        wins += not lost
        verdict = f"not better in {', '.join(lost)}" if lost else f"better in all of {', '.join(pairs)}"
        lines.append(f"{character}: ours against the AudioDVP configuration: {verdict}.")
    return "\n".join([*lines, f"Better in all on {wins} of {len(ablations)} characters."])


def describe_ablation(ablations: Mapping[str, Scores], measures: Sequence[str]) -> str:
    """Whether each row of Table 3 moves away from the baseline as the paper's does, a line a row, by the means.

    Args:
        ablations: character to row of Table 3 to metric to value.
        measures: an open one is held against the paper's whose place it takes; those without any are passed over.
    """
    means, count = average_characters(ablations)
    paper, lines = load_paper_tables()["table3"], []
    for row in ABLATIONS[1:]:
        same, other = [], []
        for name, (a, b) in _pair(means, row, measures).items():
            printed = find_metric(name).stands_for or name
            if printed not in paper[row]:
                continue
            ours, theirs = is_better(name, a, b), is_better(printed, paper[row][printed], paper[BASELINE][printed])
            figures = f"{name} ({a:.4g}, baseline {b:.4g})"
            (same if ours == theirs else other).append(figures)
        lines.append(
            f"{row}, mean of {count}: as the paper's in {', '.join(same) or 'nothing'}; "
            f"otherwise in {', '.join(other) or 'nothing'}."
        )
    return "\n".join(lines)


def _pair(rows: Scores, row: str, measures: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Measure to the row's value and the baseline's."""
    both = [name for name in measures if name in rows[row] and name in rows[BASELINE]]
    return {name: tuple(to_estimate(rows[at][name]).mean for at in (row, BASELINE)) for name in both}
