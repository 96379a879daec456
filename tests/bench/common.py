# SPDX-License-Identifier: Apache-2.0
"""What the benches share: interleaved runs, medians, and rows of BUILD/bench.tsv."""
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))


def interleave(runs, *measures):
    """Medians of what the measures return, each run `runs` times, turn by turn."""
    results = [[] for _ in measures]
    for _ in range(runs):
        for values, measure in zip(results, measures):
            values.append(measure())
    return [statistics.median(values) for values in results]


def row(build, suite, name, ours, peer_name, peer, unit, more_is_better):
    """Appends one row. Ratio: above 1 we are better."""
    ratio = ours / peer if more_is_better else peer / ours
    with open(os.path.join(build, "bench.tsv"), "a", encoding="utf-8") as f:
        f.write("\t".join([suite, name, f"{ours:.4g}", peer_name, f"{peer:.4g}", unit,
                           f"{ratio:.3f}"]) + "\n")
