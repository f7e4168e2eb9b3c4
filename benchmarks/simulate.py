#!/usr/bin/env python3
"""Runs many seeds of the cluster simulator on all cores, and tells which ones fail.

    dev/bench simulate [--seeds 10000] [--first 1] [--processes 2]

Each seed is a cluster with faults of its own kinds and rates (tests/simulation, AnyMixOfFaults).
"""

import argparse
import os
import re
import subprocess
import sys
import time

from cluster import BUILD, ROOT

TARGET = "simulation.exactly_once_sim_test"
PROGRAM = BUILD / "tests/simulation" / TARGET
PART = 250  # Seeds of one process: progress is told that often.


def start(first, count):
    return subprocess.Popen([str(PROGRAM), "--gtest_filter=*AnyMixOfFaults"],
                            env={**os.environ, "MILLRACE_SIM_FIRST": str(first),
                                 "MILLRACE_SIM_SEEDS": str(count)},
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    subprocess.run([str(ROOT / "dev/build"), TARGET], check=True, stdout=subprocess.DEVNULL)
    begin, faults, done, failed = time.monotonic(), 0, 0, []
    end = arguments.first + arguments.seeds
    parts = [(first, min(PART, end - first)) for first in range(arguments.first, end, PART)]
    running = []
    while parts or running:
        while parts and len(running) < arguments.processes:
            running.append((parts[0], start(*parts.pop(0))))
        (first, count), process = running.pop(0)
        output = process.communicate()[0]
        done += count
        faults += sum(int(n) for n in re.findall(r"^(\d+) faults", output, re.M))
        if process.returncode != 0:
            seeds = re.findall(r"MILLRACE_SIM_SEED=(\d+)", output)
            failed += seeds or [f"{first} to {first + count - 1}: exit {process.returncode}"]
            print(output, flush=True)
        print(f"{done} seeds, {faults} faults, {len(failed)} failed", flush=True)
    seconds = time.monotonic() - begin
    print(f"{arguments.seeds} seeds, {faults} faults in {seconds:.0f} s "
          f"({faults / seconds * 60 / arguments.processes:.0f} faults a minute and core), "
          f"{len(failed)} violations")
    for seed in failed:
        print(f"VIOLATION: MILLRACE_SIM_SEED={seed} {PROGRAM} --gtest_filter='*AnyMixOfFaults'")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
