#!/usr/bin/env python3
"""Checks committed results of examples/hot_items.yaml against an independent count.

    millrace generate nexmark ... --to - | check_hot_items.py RESULTS.json

Reads the input events, counts bids per auction in windows of 10 s every 2 s, keeps the auctions with
the highest count of each window (ties included), and compares with the result lines exactly.
"""

import collections
import datetime
import json
import sys

SIZE_MS, SLIDE_MS = 10_000, 2_000
EPOCH = datetime.datetime(1970, 1, 1)


def millis(text):
    moment = datetime.datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f")
    return (moment - EPOCH) // datetime.timedelta(milliseconds=1)


def main():
    panes = collections.defaultdict(collections.Counter)
    for line in sys.stdin:
        event = json.loads(line)
        if event["event_type"] == 2:
            bid = event["bid"]
            panes[millis(bid["dateTime"]) // SLIDE_MS][bid["auction"]] += 1
    windows = collections.defaultdict(collections.Counter)
    for pane, counts in panes.items():
        for i in range(1, SIZE_MS // SLIDE_MS + 1):
            windows[(pane + i) * SLIDE_MS].update(counts)
    expected = set()
    for end, counts in windows.items():
        best = max(counts.values())
        expected.update((end, auction, best) for auction, n in counts.items() if n == best)
    got = collections.Counter()
    with open(sys.argv[1], encoding="utf-8") as results:
        for line in results:
            row = json.loads(line)
            got[(millis(row["window_end"]), row["auction"], row["num"])] += 1
    twice = [row for row, times in got.items() if times > 1]
    missing, extra = expected - got.keys(), got.keys() - expected
    if twice or missing or extra:
        print(f"WRONG: {len(missing)} missing {sorted(missing)[:3]}, {len(extra)} unexpected "
              f"{sorted(extra)[:3]}, {len(twice)} duplicated {sorted(twice)[:3]}")
        sys.exit(1)
    print(f"checked: {len(expected)} results of {len(windows)} windows equal the independent count")


if __name__ == "__main__":
    main()
