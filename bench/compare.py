"""python -m bench.compare outputs/BASE outputs/NEW: faster, slower, the same, or can't tell."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.errors import InvalidSetting, one_message
from bench.files import drawing_into

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
    with one_message("bench-compare", 2):
        sys.exit(run(options))


def run(options: argparse.Namespace) -> int:
    """Print the comparisons, and return the exit code of the worst."""
    from rich.console import Console

    from bench.analysis.compare import pairs, show, statistics

    sides = [(folder.name, pairs.read(folder)) for folder in options.folders]
    if options.by:
        sides = pairs.split(sides[0][1], options.by, options.base)
    elif len(sides) != 2:
        raise InvalidSetting("folders", ", ".join(map(str, options.folders)), "name two, BASE and NEW, or one with --by")
    codes, reports, console = [], [], Console()
    for new in sides[1:]:
        matching = pairs.match(sides[0], new, options.environment, one_sweep=bool(options.by), mix=options.mixed)
        found = statistics.compare(matching.pairs, options.min_effect, options.trust_noisy, matching.interleaved, matching.round_s)
        codes.append(found.exit_code)
        reports.append(show.as_json(matching, found))
        if not options.json:
            show.print_comparison(matching, found, console)
            with drawing_into(options.out or options.folders[-1]):
                [chart, _] = show.draw(matching, found, options.out or options.folders[-1] / "charts")
            console.print(str(chart), highlight=False, markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps(reports if options.by else reports[0], indent=2))
    return 1 if 1 in codes else max(codes)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench-compare", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="BASE and NEW, or one sweep with --by")
    parser.add_argument("--min-effect", type=_share, default=0.03, metavar="3%", help="the smallest change that matters (default: 3%%)")
    parser.add_argument("--by", metavar="SETTING", help="compare the parts of one sweep: framework, dtype, model, ...")
    parser.add_argument("--base", metavar="VALUE", help="with --by: what the others are compared to (default: the first)")
    parser.add_argument(
        "--environment", default="", metavar="KEY=VALUE", help="of points measured in several environments, those of this one: torch=2.13.0"
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
