"""Points that were sampled and measured in full: how far sampling is off, and beside it what measuring the same thing twice gives."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.results import Status

MEASURED, SAMPLED = "measured", "sampled"
_POINT = ["sweep", "point_id", "environment_id"]
_MOST = 0.03  # median error from which on sampling is not to be trusted


@dataclass(frozen=True)
class Errors:
    """Signed relative errors of several points; 90 % of them are off by no more than `p90`, to either side."""

    points: int
    median: float
    p90: float
    largest: float

    def __str__(self) -> str:
        told = f"median {self.median:+.1%}, 90% of the points within {self.p90:.1%}, largest {self.largest:+.1%}"
        return told.replace("%", " %")


@dataclass(frozen=True)
class Holdout:
    """What the points show that were measured both ways."""

    errors: Errors | None  # None: no point has a result of both kinds in one round
    twice: Errors | None  # the same measured twice; None: one round
    sampled_twice: Errors | None  # the points of a line share their windows, and what the host did meanwhile
    rounds: int  # of the point that has most of them

    @property
    def is_bad(self) -> bool:
        return self.errors is not None and abs(self.errors.median) > _MOST


def holdout(jobs: pd.DataFrame) -> Holdout:
    """Of jobs with `source`, one per point, round and source. Sampled and measured are compared within each round."""
    done = jobs[jobs["status"] == Status.ok]
    latest = done.groupby([*_POINT, "round", "source"], dropna=False)["latency_s"].last()
    rounds = latest.unstack("source").reindex(columns=[MEASURED, SAMPLED])
    both = rounds.dropna()
    off = (both[SAMPLED] / both[MEASURED] - 1).groupby(_POINT, dropna=False)
    held_out = rounds.groupby(_POINT, dropna=False).transform("count").gt(0).all(axis="columns")
    twice, sampled_twice = (_halves(rounds.loc[held_out, source]) for source in (MEASURED, SAMPLED))
    return Holdout(_errors(off.median()), twice, sampled_twice, int(off.size().max()) if len(both) else 0)


def _halves(latencies_s: pd.Series) -> Errors | None:
    """Odd rounds against even ones, for each point that has several."""
    points = latencies_s.dropna().groupby(_POINT, dropna=False)
    return _errors(points.agg(lambda rounds_s: rounds_s.iloc[::2].median() / rounds_s.iloc[1::2].median() - 1).dropna())


def _errors(of_points: pd.Series) -> Errors | None:
    if of_points.empty:
        return None
    return Errors(len(of_points), of_points.median(), float(of_points.abs().quantile(0.9)), max(of_points, key=abs))


def in_words(found: Holdout, sampled: int) -> list[str]:
    """What the end of a sweep says about its sampled points."""
    if found.errors is None:
        return [f"{sampled} points are sampled, and none of them has a result in full: how far they are off is not known"]
    count = found.errors.points
    points, rounds = (f"{number} {what}{'s' if number > 1 else ''}" for number, what in ((count, "point"), (found.rounds, "round")))
    lines = [f"Sampled against measured, {points} in {rounds}: {found.errors}"]
    lines += [
        f"The same {how} twice: {errors}" for how, errors in ((MEASURED, found.twice), (SAMPLED, found.sampled_twice)) if errors is not None
    ]
    if found.rounds == 1:
        lines.append("One round: the error is that of one measurement, and what measuring twice gives is not known; set rounds=5")
    if found.is_bad:
        lines.append(
            "This is too far off. Where the same measured twice differs as much, the host is noisy: noise=wait, or more rounds. "
            "Else: measure.window=64, or rerun=all measure.decode=full"
        )
    return lines


def settled(jobs: pd.DataFrame) -> pd.DataFrame:
    """The jobs without the sampled ones of points that were measured in full, too; the others know how far sampling is off.

    `sampling_error` is what 90 % of the sweep's held-out points are within; null where nothing was held out.
    """
    jobs = jobs.assign(sampling_error=float("nan"))
    is_sampled = jobs["source"] == SAMPLED
    if not is_sampled.any():
        return jobs
    for _, ours in jobs.groupby("sweep", sort=False):
        if errors := holdout(ours).errors:
            jobs.loc[ours.index[ours["source"] == SAMPLED], "sampling_error"] = errors.p90
    done = jobs[(jobs["status"] == Status.ok) & ~is_sampled]
    known = pd.MultiIndex.from_frame(done[_POINT])
    return jobs[~(is_sampled & pd.MultiIndex.from_frame(jobs[_POINT]).isin(known))].reset_index(drop=True)


def key_of_sampled(frame: pd.DataFrame) -> str | None:
    """What the key of a chart says of hollow points; None where there are none."""
    if "source" not in frame or not frame["source"].eq(SAMPLED).any():
        return None
    errors = frame["sampling_error"].dropna()
    return f"sampled, error {100 * errors.max():.1f} %" if len(errors) else "sampled, error not known"
