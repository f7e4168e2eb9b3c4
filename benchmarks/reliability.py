#!/usr/bin/env python3
"""Writes the table of docs/reliability.md from the output of fault runs.

    dev/bench reliability 'COMMAND=LOG' …

Each argument is a command of this repository and the file that holds its output, e.g.
'dev/bench simulate --seeds 8000=/tmp/simulate.log'. Rows of commands that are not named are kept.
"""

import datetime
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "<!-- table of the last runs: dev/bench reliability -->", "<!-- end of the table -->"
HEAD = ["| command | commit | day | faults | violations | recovery |", "|---|---|---|---|---|---|"]


def last(pattern, text):
    found = re.findall(pattern, text, re.M)
    return found[-1] if found else None


def row_of(command, text):
    """Faults, violations and recovery times, as the programs print them."""
    violations = len(re.findall(r"^VIOLATION", text, re.M))
    if run := last(r"^(\d+) seeds, (\d+) faults in \d+ s .* (\d+) violations$", text):
        return f"{run[1]} simulated in {run[0]} clusters", int(run[2]), "–"
    if run := last(r"^(\d+) kills, (\d+) crashes at failpoints, (\d+) rows", text):
        return (f"{run[0]} kills, {run[1]} crashes at named steps, {run[2]} rows", violations, "–")
    if run := last(r"^(\d+) kills, (\d+) of Connect, (\d+) statements", text):
        return f"{run[0]} kills, {run[1]} of Connect, {run[2]} statements", violations, "–"
    if times := re.findall(r"next checkpoint ([\d.]+) s after (?:the leader was|etcd)", text):
        failed = len(re.findall(r"^(FAIL|ERROR):", text, re.M))
        seconds = sorted(map(float, times))
        return (f"{len(times)} changes of the leader", failed,
                f"next checkpoint after {seconds[0]:.1f} to {seconds[-1]:.1f} s")
    sys.exit(f"error: no result in the output of {command}")


def main():
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit(__doc__)
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], check=True,
                            capture_output=True, text=True).stdout.strip()
    page = PAGE.read_text()
    before, rest = page.split(BEGIN)
    old, after = rest.split(END)
    rows = {line.split("|")[1].strip(" `"): line for line in old.strip().splitlines()[2:]}
    for argument in sys.argv[1:]:
        command, _, log = argument.rpartition("=")
        faults, violations, recovery = row_of(command, pathlib.Path(log).read_text())
        day = datetime.date.today().isoformat()
        rows[command] = f"| `{command}` | {commit} | {day} | {faults} | {violations} | {recovery} |"
    table = "\n".join([*HEAD, *rows.values()])
    PAGE.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
    print(table)


if __name__ == "__main__":
    main()
