"""Whether an entry's numbers can be those of any drawn molecules: counts are whole, shares are shares, parts agree."""

from __future__ import annotations

from chemscale_bench.leaderboard.consistent import claim, task_of
from chemscale_bench.leaderboard.entry import AGAINST, REFERENCES, Entry, Generation, Run
from chemscale_bench.leaderboard.generated import moses_digest

ROUNDING = 1e-6
FIRST, SECOND = 1_000, 10_000  # valid molecules, of unique_at_1k and unique_at_10k
UNBOUNDED = ("fcd_", "wasserstein_")


def check(entry: Entry) -> None:
    """Check what can be told from the numbers alone.

    Raises:
        Inconsistent: naming the first contradiction.
    """
    drawn = [(run, result.generation) for run in entry.runs for result in run.results if result.generation]
    if not drawn:
        return
    of_moses = task_of(entry).data == "moses"
    sets = REFERENCES if of_moses else REFERENCES[:1]
    digest = moses_digest() if of_moses else drawn[0][1].reference_digest
    for run, generation in drawn:
        found = generation.reference_digest
        claim(found == digest, run, f"reference_digest must be {digest[:16]}, one for all drawn molecules", found[:16])
        check_sets(run, generation, sets)
        for name, value in generation.metrics.items():
            share = name.startswith(UNBOUNDED) or value <= 1 + ROUNDING
            claim(share, run, f"{name} of drawn molecules is a share, 1 at most", f"{value:.6g}")
        check_counts(run, generation)
        first, second = (generation.metrics[f"internal_diversity_{power}"] for power in (1, 2))
        rule = f"internal_diversity_2 may not be above internal_diversity_1, {first:.6g}"
        claim(second <= first + ROUNDING, run, rule, f"{second:.6g}")


def check_sets(run: Run, generation: Generation, sets: tuple[str, ...]) -> None:
    """Every metric against a set of test molecules is there or none is, and the distance if there was a ChemNet."""
    found = set(generation.metrics)
    may_lack = ("fcd", "fragments", "scaffolds")  # these can be no number
    told = [name for name in AGAINST if not name.startswith(may_lack)]
    for of in REFERENCES:
        allowed = of in sets
        strange = sorted(found & {f"{name}_{of}" for name in AGAINST})
        claim(allowed or not strange, run, f"molecules of this task are compared with {sets}", strange[:1])
        if not strange:
            continue
        missing = sorted({f"{name}_{of}" for name in told} - found)
        claim(not missing, run, f"all metrics against {of} must be there", f"no {', '.join(missing)}")
        rule = f"fcd_{of} must be there if ChemNet was, and only then"
        claim((f"fcd_{of}" in found) == generation.chemnet, run, rule, f"chemnet {generation.chemnet}")
        more = sorted(found & {f"fcd_{kind}_{of}" for kind in ("raw_valid", "extrapolated")})
        claim(generation.chemnet or not more, run, f"without ChemNet there can be no {more[:1]}", "chemnet False")


def check_counts(run: Run, generation: Generation) -> None:
    """Shares are of whole molecules, and the distinct among the first ones fit those among more of them."""
    metrics = generation.metrics

    def whole(name: str, of: int) -> int:
        count = metrics[name] * of
        rule = f"{name} must be a share of {of:,} molecules"
        claim(abs(count - round(count)) <= ROUNDING * max(1, count), run, rule, f"{count:.6g} of them")
        return round(count)

    valid, _ = (whole(name, generation.molecules) for name in ("valid", "raw_valid"))
    claim(valid > 0, run, "some of the drawn molecules must be valid", "none")
    whole("filters", valid)
    first, second = min(valid, FIRST), min(valid, SECOND)
    among_first, among_second = whole("unique_at_1k", first), whole("unique_at_10k", second)
    claim(among_first > 0, run, "unique_at_1k must be of one molecule at least", "none")
    most = among_first + second - first
    rule = f"unique_at_10k must be of {among_first:,} to {most:,} molecules, as unique_at_1k has it"
    claim(among_first <= among_second <= most, run, rule, f"{among_second:,}")
    if valid <= SECOND:
        whole("novelty", among_second)
