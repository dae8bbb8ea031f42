"""python -m bench.compare outputs/BASE outputs/NEW: faster, slower, the same, or can't tell."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, InvalidSetting

if TYPE_CHECKING:
    from bench.analysis.matching import Group

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

    from bench.analysis import matching, regression, verdicts

    groups = [matching.read(folder) for folder in options.folders]
    if options.by:
        base, *others = _parts(groups[0], options)
    elif len(groups) == 2:
        base, *others = groups
    else:
        raise InvalidSetting("folders", ", ".join(map(str, options.folders)), "name two, BASE and NEW, or one with --by")
    codes, reports, console = [], [], Console()
    for other in others:
        matched = matching.match(base, other, interleaved=bool(options.by))
        if not matched.pairs:
            raise InvalidSetting("folders", f"{base.name}, {other.name}", "no point has a result on both sides; compare sweeps of one grid")
        found = regression.compare(matched.pairs, options.min_effect, options.trust_noisy, matched.interleaved, matched.round_s)
        codes.append(found.exit_code)
        reports.append(verdicts.as_json(matched, found))
        if not options.json:
            verdicts.print_comparison(matched, found, console)
            files = verdicts.draw(matched, found, _stem(options, base.name, other.name))
            console.print(str(files[0]), highlight=False, markup=False, soft_wrap=True)
    if options.json:
        print(json.dumps(reports if options.by else reports[0], indent=2))
    return 1 if 1 in codes else max(codes)


def _parts(group: Group, options: argparse.Namespace) -> list[Group]:
    """The parts of one sweep, the base first."""
    from bench.analysis import matching

    parts = matching.split(group, options.by)
    if len(parts) < 2:
        raise InvalidSetting("--by", options.by, f"has one value in this sweep ({parts[0].name}); name a setting that varies")
    names = [part.name for part in parts]
    if options.base is not None and options.base not in names:
        raise InvalidSetting("--base", options.base, f"is none of {', '.join(names)}")
    return sorted(parts, key=lambda part: part.name != (options.base or names[0]))


def _stem(options: argparse.Namespace, base: str, new: str) -> Path:
    folder = options.out or options.folders[-1] / "charts"
    return Path(folder) / "-".join(["compare", *(re.sub(r"[^\w.=+]+", "-", name).strip("-") for name in (base, new))])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("bench-compare", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="BASE and NEW, or one sweep with --by")
    parser.add_argument("--min-effect", type=_share, default=0.03, metavar="3%", help="the smallest change that matters (default: 3%%)")
    parser.add_argument("--by", metavar="SETTING", help="compare the parts of one sweep: framework, dtype, model, ...")
    parser.add_argument("--base", metavar="VALUE", help="with --by: what the others are compared to (default: the first)")
    parser.add_argument("--trust-noisy", action="store_true", help="let differences count that were measured on a noisy host")
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
