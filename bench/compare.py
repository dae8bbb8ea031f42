"""python -m bench.compare outputs/BASE outputs/NEW: faster, slower, the same, or can't tell."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, InvalidSetting
from bench.files import refuse_links

if TYPE_CHECKING:
    from bench.analysis.compare.pairs import Matched, Part
    from bench.analysis.compare.statistics import Comparison

_ABOUT = """\
Compares the latency of two sweeps point by point, or with --by the parts of
one sweep, and tells for each point and overall: faster, slower, same, or
undecided. A change counts when it is at least --min-effect and its interval
excludes none. The intervals hold for all points together with 95 %;
docs/method.md says how. Measure with rounds=5 or more, and both sides on the
same quiet host.

  bench-compare outputs/base outputs/new
  bench-compare outputs/frameworks --by framework --base hf

exit code: 0 same or faster, 1 slower (overall or at a point),
           2 undecided or nothing to compare
"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    try:
        sys.exit(run(options))
    except BenchError as error:
        print(f"bench-compare: {error}", file=sys.stderr)
        sys.exit(2)


def run(options: argparse.Namespace) -> int:
    """Print the comparisons, and return the exit code of the worst."""
    from rich.console import Console

    from bench.analysis.compare import hosts, pairs, show, statistics

    sides = [(folder.name, pairs.read(folder)) for folder in options.folders]
    if options.by:
        sides = _parts(sides[0][1], options)
    elif len(sides) != 2:
        raise InvalidSetting("folders", ", ".join(map(str, options.folders)), "name two, BASE and NEW, or one with --by")
    base, *others = sides
    codes, reports, console = [], [], Console()
    for new in others:
        matched = pairs.match(base, new, options.environment, one_sweep=bool(options.by), mix=options.mixed)
        if not matched.pairs:
            raise InvalidSetting("folders", f"{base[0]}, {new[0]}", _nothing_in_common(matched.one_sided))
        found = statistics.compare(matched.pairs, options.min_effect, options.trust_noisy, matched.interleaved, matched.round_s)
        codes.append(found.exit_code)
        both = hosts.of(base[1], new[1])
        reports.append({**show.as_json(matched, found), "hosts": hosts.as_json(both)})
        if not options.json:
            if table := hosts.table(both, matched.base, matched.new):
                console.print(table, "")
            told = {key: values for key, values in matched.differences.items() if key not in both.columns}
            show.print_comparison(replace(matched, differences=told), found, console)
            console.print(str(_draw(options, matched, found)), highlight=False, markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps(reports if options.by else reports[0], indent=2))
    return 1 if 1 in codes else max(codes)


def _nothing_in_common(one_sided: int) -> str:
    if one_sided:
        return f"{one_sided} points were sampled on one side and measured on the other; --mixed compares them all the same"
    return "no point has a result on both sides; compare sweeps of one grid"


def _parts(part: Part, options: argparse.Namespace) -> list[tuple[str, Part]]:
    """The parts of one sweep, the base first."""
    from bench.analysis.compare import pairs

    parts = list(pairs.split(part, options.by).items())
    if len(parts) < 2:
        raise InvalidSetting("--by", options.by, f"has one value in this sweep ({parts[0][0]}); name a setting that varies")
    names = [name for name, _ in parts]
    if options.base and options.base not in names:
        raise InvalidSetting("--base", options.base, f"is none of {', '.join(names)}")
    return sorted(parts, key=lambda named: named[0] != (options.base or names[0]))


def _draw(options: argparse.Namespace, matched: Matched, found: Comparison) -> Path:
    from bench.analysis.compare import show

    folder = options.out or options.folders[-1] / "charts"
    names = (re.sub(r"[^\w.=+]+", "-", name)[:60].strip("-") for name in (matched.base, matched.new))
    try:
        if not options.out:
            refuse_links(options.folders[-1], ["charts"])
        return show.draw(matched, found, Path(folder) / "-".join(["compare", *names]))[0]
    except OSError as error:
        raise InvalidSetting("--out", folder, f"cannot be written ({error.strerror}); name a folder that you may write to") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench-compare", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="BASE and NEW, or one sweep with --by")
    parser.add_argument("--min-effect", type=_share, default=0.03, metavar="3%", help="the smallest change that matters (default: 3%%)")
    parser.add_argument("--by", metavar="SETTING", help="compare the parts of one sweep: framework, dtype, model, ...")
    parser.add_argument("--base", metavar="VALUE", help="with --by: what the others are compared to (default: the first)")
    parser.add_argument(
        "--environment", metavar="KEY=VALUE", help="of points measured in several environments, those of this one: torch=2.13.0"
    )
    parser.add_argument("--trust-noisy", action="store_true", help="let differences count that were measured on a noisy host")
    parser.add_argument("--mixed", action="store_true", help="compare points that were sampled on one side and measured on the other, too")
    parser.add_argument("--json", action="store_true", help="print JSON, and draw no chart")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the chart goes (default: charts/ in the last folder)")
    return parser


def _share(text: str) -> float:
    """3%, or 0.03."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no share between 0 and 1; write 3% or 0.03")
    return value


if __name__ == "__main__":
    main()
