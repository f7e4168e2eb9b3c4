#!/usr/bin/env python3
"""State that is larger than its memory: one window with many groups, a small budget, the right result.

    dev/bench large_state [--keys 20000000] [--memory-mb 512] [--parallelism 2]

Each key gets two rows, which are far apart, so that most groups were evicted in between. Checks that
every key came out once with both rows, and that the worker's peak RSS is at most the budget + 25 %.
"""

import argparse
import pathlib
import sys
import tempfile
import time

from cluster import ROOT, Cluster, peak_rss_mb


def check(folder, keys):
    """The number of keys whose result is right; wrong ones are shown."""
    seen = bytearray(keys)
    right = 0
    for part in sorted(pathlib.Path(folder).glob("part-*")):
        with open(part, encoding="ascii") as lines:
            for line in lines:
                key, count, total = map(int, line.split(","))
                if count != 2 or total != 2 * key + keys or seen[key]:
                    print(f"WRONG: {line.strip()}{' again' if seen[key] else ''}")
                    continue
                seen[key] = 1
                right += 1
    return right


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--keys", type=int, default=20_000_000)
    parser.add_argument("--memory-mb", type=int, default=512)
    parser.add_argument("--parallelism", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=1800, help="seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        with Cluster(folder, cores=arguments.parallelism,
                     memory_mb=arguments.memory_mb) as cluster:
            before, begin = cluster.cpu_seconds(), time.monotonic()
            job = cluster.submit(ROOT / "benchmarks/jobs/large_state.yaml",
                                 {"keys": str(arguments.keys), "rows": str(2 * arguments.keys),
                                  "output": f"{folder}/out"},
                                 "--parallelism", str(arguments.parallelism))
            end = cluster.command("wait", job, "--timeout", str(arguments.timeout), check=False)
            wall, cpu = time.monotonic() - begin, cluster.cpu_seconds() - before
            rss = peak_rss_mb(cluster.workers[0].pid)
            if end.stdout.strip() != "FINISHED":
                print(end.stdout, end.stderr,
                      cluster.command("logs", job, check=False).stdout[-2000:])
                sys.exit(1)
        right = check(f"{folder}/out", arguments.keys)
    limit = arguments.memory_mb * 1.25
    print(f"{arguments.keys} keys, budget {arguments.memory_mb} MB: {wall:.0f} s, "
          f"{cpu:.0f} CPU-s, peak RSS {rss:.0f} MB (at most {limit:.0f}), "
          f"{right} results right, {arguments.keys - right} wrong or missing")
    sys.exit(0 if right == arguments.keys and rss <= limit else 1)


if __name__ == "__main__":
    main()
