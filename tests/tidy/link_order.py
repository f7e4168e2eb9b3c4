"""link_order.py PROGRAM...: libsimdjson and libre2 must come before Arrow's libraries, which export
a simdjson without vectors and another RE2: of two, the first serves the whole program."""
import re
import subprocess
import sys


def main() -> int:
    bad = 0
    for program in sys.argv[1:]:
        dynamic = subprocess.run(["readelf", "--dynamic", "--wide", program], check=True,
                                 capture_output=True, text=True).stdout
        needed = re.findall(r"NEEDED.*\[lib([a-z0-9_]+)", dynamic)
        arrow = [i for i, name in enumerate(needed) if name.startswith("arrow")]
        before = needed[:arrow[0]] if arrow else []
        if not {"simdjson", "re2"} <= set(before):
            print(f"{program}: wants simdjson and re2 before arrow, has {' '.join(needed)}")
            bad += 1
    return 1 if bad or len(sys.argv) < 2 else 0


if __name__ == "__main__":
    sys.exit(main())
