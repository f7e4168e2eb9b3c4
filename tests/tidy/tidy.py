"""Checks the sources against the rules of the project.

    python tidy.py [FOLDER]     prints FILE:LINE: RULE: what, and exits with 1 if there was anything

The rules are the tables below: who may include whom, the one home of every library, calls that
belong to the environment, READMEs, format, words. Standard library only.
"""

import pathlib
import re
import shutil
import subprocess
import sys

RUNTIME = ("base", "columns", "expressions", "state", "task", "exchange", "checkpoint", "metrics",
           "security")
ALL_RUNTIME = {f"runtime/{name}" for name in RUNTIME}

# Who may include whom, by the longest prefix that fits. "proto" stands for generated messages. A
# folder may always include itself. tests/ may include everything.
MAY_INCLUDE = {
    "runtime/base": set(),
    "runtime/columns": {"runtime/base", "proto"},
    "runtime/expressions": {"runtime/base", "runtime/columns", "proto"},
    "runtime/checkpoint": {"runtime/base", "runtime/metrics", "proto"},
    "runtime/state": {"runtime/base", "runtime/columns", "runtime/checkpoint", "proto"},
    "runtime/exchange": {"runtime/base", "runtime/columns", "proto"},
    "runtime/metrics": {"runtime/base"},
    "runtime/security": {"runtime/base"},
    "runtime/task": {f"runtime/{name}" for name in
                     ("base", "columns", "expressions", "state", "exchange", "checkpoint")}
    | {"proto"},
    # Names, options and formats of connectors: shared with the compiler, so it stays small.
    "operators/catalog": {"runtime/base", "runtime/columns", "proto"},
    "operators": ALL_RUNTIME | {"proto"},
    "sql": {"operators/catalog", "runtime/base", "runtime/columns", "runtime/expressions", "proto"},
    "coordinator": {"sql", "runtime/base", "runtime/checkpoint", "runtime/metrics",
                    "runtime/security", "proto"},
    "worker": ALL_RUNTIME | {"operators", "proto"},
    "cli": ALL_RUNTIME | {"operators", "coordinator", "worker", "sql", "proto"},
    "benchmarks": ALL_RUNTIME | {"operators", "coordinator", "worker", "sql", "cli", "proto"},
}
OWN_FOLDERS = ("runtime", "operators", "sql", "coordinator", "worker", "cli", "tests", "benchmarks")

# The one home of each library: include prefix -> folders. Tests may use what they test.
LIBRARY_HOME = {
    "rocksdb/": ("runtime/state",),
    "librdkafka/": ("operators/connectors/kafka",),
    "lz4": ("operators/connectors/kafka/native",),
    "snappy": ("operators/connectors/kafka/native",),
    "zlib.h": ("operators/connectors/kafka/native",),
    "zstd": ("operators/connectors/kafka/native",),
    "libpq-fe.h": ("operators/connectors/postgres",),
    "prometheus/": ("runtime/metrics",),
    "httplib.h": ("runtime/metrics",),
    "pg_query": ("sql",),
    "yaml-cpp/": ("sql",),
    "nlohmann/": ("sql",),
    "sqlite3.h": ("coordinator/metadata",),
    "spdlog/": ("runtime/base",),
    "re2/": ("runtime/expressions",),
    "simdjson": ("operators/formats", "operators/inference", "runtime/expressions"),
    "CLI/": ("cli/main.cc", "coordinator/main.cc", "worker/main.cc"),
    "arrow/": ("runtime/expressions",),
    "openssl/ssl.h": ("runtime/base",),
    "curl/": ("runtime/checkpoint/s3",),
    "pugixml": ("runtime/checkpoint/s3",),
}
GRPC_INCLUDE = re.compile(r"^(grpc|grpcpp)/|\.grpc\.pb\.h$")
GRPC_FILE = re.compile(r"_rpc\.(h|cc)$")

MAINS = ("cli/main.cc", "coordinator/main.cc", "worker/main.cc")
REAL_ENV = ("runtime/base/real_env.cc", "runtime/base/posix_disk.cc", "runtime/base/tcp_network.cc")
# Call -> (why it is banned, {file: why it may nevertheless}).
BANNED = [
    (r"\b(system_clock|steady_clock|high_resolution_clock)\s*::\s*now|\babsl::Now\s*\(|\btime\s*\("
     r"\s*(NULL|nullptr|0)\s*\)|\bgettimeofday\s*\(|\bclock_gettime\s*\(",
     "time comes from Env", {
         "coordinator/grpc_server_rpc.cc": "deadline of gRPC's own Shutdown",
         "operators/inference/remote/open_inference_rpc.cc": "deadlines of gRPC's calls",
         "coordinator/metadata/etcd_metadata_store_rpc.cc": "deadlines of gRPC's calls",
         "cli/job_client_rpc.cc": "deadlines of a call that a person waits for",
         "cli/remote_commands.cc": "deadline of a call that a person waits for",
     }),
    (r"\bsleep_for\b|\bsleep_until\b|\babsl::SleepFor\b|\b(u|nano)?sleep\s*\(",
     "nothing sleeps; the executor calls back", {}),
    (r"\bstd::(jthread|async)\b|\bstd::thread\b(?!::)|\bpthread_create\b",
     "threads come from Env and TaskThread", {
         "runtime/task/task_thread.h": "the task threads",
         "runtime/task/task_thread.cc": "the task threads",
         "runtime/metrics/http_server.cc": "the listener of /metrics, which has no part in a job",
         "operators/udf/python_evaluator.h": "the thread that waits for a process of Python",
     }),
    (r"(?<![\w.>])_?[Ff]ork\s*\(\s*\)|\bexec(l|le|lp|v|ve|vp|vpe)\s*\(|\bposix_spawnp?\s*\(|"
     r"\bpopen\s*\(|(?<![\w.>])(std::)?system\s*\(",
     "processes are started in one place", {
         "operators/udf/python_process.cc": "the processes that run functions in Python",
     }),
    (r"\b(s?rand|random|drand48)\s*\(\s*\)|\bsrand\s*\(|\bstd::(random_device|mt19937)",
     "chance comes from Env", {}),
    (r"(?<![\w.])(std::)?(printf|puts|putchar|abort)\s*\(|\bstd::(cout|cerr|clog)\b",
     "libraries log by runtime/base/log.h; bugs die by MILLRACE_CHECK", {
         "runtime/base/check.cc": "the last words of a process",
         "runtime/base/failpoint.cc": "a crash that a test asked for",
     }),
    (r"(?<![\w.:])(std::)?(exit|_exit|quick_exit)\s*\(",
     "only main ends the process", {
         "runtime/base/failpoint.cc": "a crash that a test asked for",
         "operators/udf/python_process.cc": "a child that could not become Python",
     }),
]
PRINTS = re.compile(r"printf|cout")

README_LINES_MAX = 40
COLUMNS_MAX = 100
# A folder with fewer sources is described by the folder above.
README_SOURCES_MIN = 5
README_ALWAYS = ("runtime", "operators", "sql", "coordinator", "worker", "cli", "proto", "tests",
                 "benchmarks", "examples", "dev", "docs")

TEXT = (".h", ".cc", ".proto", ".py", ".md", ".yaml", ".yml", ".txt", ".cmake", ".sh", ".toml", ".test")
FORBIDDEN_WORDS = [
    # Written in pieces, so that this file passes.
    (r"(?<![\w.~-])/(wo" r"rk|ro" r"ot|ho" r"me|Us" r"ers)/[\w.]", "absolute path of one machine"),
    (r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b(?!\(#\d+\))", "write TO" "DO(#issue), or do it"),
    (r"[ \t]+$", "space at the end of the line"),
]


class Tidy:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.problems = []

    def add(self, path, line, rule, text):
        self.problems.append(f"{path}:{line}: {rule}: {text}")

    def files(self):
        """Tracked and new files that are not ignored; every file where there is no repository."""
        if (self.root / ".git").exists():
            listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others",
                                     "--exclude-standard"], cwd=self.root, check=True,
                                    capture_output=True, text=True).stdout
            names = [name for name in listed.split("\0") if name]
        else:
            names = [str(path.relative_to(self.root)) for path in self.root.rglob("*")]
        return sorted(name for name in names if (self.root / name).is_file())

    def run(self):
        names = self.files()
        sources = [name for name in names if name.endswith((".h", ".cc"))]
        for name in names:
            if not (name.endswith(TEXT) or name.startswith(("dev/", ".ci/"))):
                continue
            lines = (self.root / name).read_text(errors="replace").splitlines()
            self.check_words(name, lines)
            if name in sources:
                self.check_includes(name, lines)
                self.check_calls(name, lines)
                self.check_columns(name, lines)
            if name.endswith("README.md") and "/" in name:
                if len(lines) > README_LINES_MAX:
                    self.add(name, README_LINES_MAX + 1, "readme",
                             f"{len(lines)} lines, at most {README_LINES_MAX}")
        self.check_readmes(names)
        self.check_format(sources)
        return self.problems

    # ---- Includes.

    def check_includes(self, name, lines):
        for number, line in enumerate(lines, 1):
            match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not match:
                continue
            included = match.group(2)
            self.check_library(name, number, included)
            if match.group(1) == '"':
                self.check_direction(name, number, included)

    def check_direction(self, name, number, included):
        if name.startswith("tests/"):
            return
        owner = longest(MAY_INCLUDE, name)
        if owner is None:
            return
        first = included.split("/")[0]
        if first in ("millrace", "google"):
            if "proto" not in MAY_INCLUDE[owner] and first == "millrace":
                self.add(name, number, "include", f"{owner} may not include messages: {included}")
            return
        if first not in OWN_FOLDERS:
            return  # A library.
        allowed = MAY_INCLUDE[owner] | {owner}
        # operators may include operators/catalog, and so on: a permission is for all below it.
        if not any(within(included, folder) for folder in allowed):
            self.add(name, number, "include", f"{owner} may not include {included}")

    def check_library(self, name, number, included):
        if GRPC_INCLUDE.search(included) and not GRPC_FILE.search(name):
            if not (name.startswith("tests/") and "_rpc" not in name and "rpc_" in name):
                self.add(name, number, "home", f"gRPC belongs into *_rpc files: {included}")
        if name.startswith("tests/"):
            return
        for prefix, homes in LIBRARY_HOME.items():
            if included.startswith(prefix) and not any(within(name, home) for home in homes):
                self.add(name, number, "home", f"{included} belongs into {' or '.join(homes)}")

    # ---- Calls.

    def check_calls(self, name, lines):
        if name in REAL_ENV or name.startswith(("tests/", "benchmarks/")):
            return
        code = without_comments_and_strings("\n".join(lines)).split("\n")
        for pattern, why, allowed in BANNED:
            if name in allowed or name in MAINS:
                continue
            if PRINTS.search(pattern) and name.startswith("cli/"):
                continue  # Printing is what the command is for.
            for number, line in enumerate(code, 1):
                match = re.search(pattern, line)
                if match:
                    self.add(name, number, "call", f"{match.group(0).strip()}: {why}")

    # ---- Form.

    def check_columns(self, name, lines):
        table = False  # Between clang-format off and on: a table reads better in long lines.
        for number, line in enumerate(lines, 1):
            if re.search(r"// clang-format (on|off)", line):
                table = line.rstrip().endswith("off")
            elif len(line) > COLUMNS_MAX and not table:
                self.add(name, number, "columns", f"{len(line)}, at most {COLUMNS_MAX}")

    def check_words(self, name, lines):
        for number, line in enumerate(lines, 1):
            for pattern, why in FORBIDDEN_WORDS:
                match = re.search(pattern, line)
                if match:
                    self.add(name, number, "word", f"{match.group(0).strip() or 'blank'}: {why}")

    def check_readmes(self, names):
        count = {}
        for name in names:
            if name.endswith((".h", ".cc", ".proto")) and not name.startswith("tests/unit/"):
                folder = name.rpartition("/")[0]
                count[folder] = count.get(folder, 0) + 1
        wanted = {folder for folder, sources in count.items() if sources >= README_SOURCES_MIN}
        wanted |= {folder for folder in README_ALWAYS
                   if any(name.startswith(folder + "/") for name in names)}
        wanted.discard("proto/millrace/v1")  # proto/README.md is about it.
        for folder in sorted(wanted):
            if folder and f"{folder}/README.md" not in names:
                self.add(folder, 0, "readme", "README.md is missing")

    def check_format(self, sources):
        command = shutil.which("clang-format-14")
        if command is None or not sources or not (self.root / ".clang-format").exists():
            return
        done = subprocess.run([command, "--dry-run", *sources], cwd=self.root,
                              capture_output=True, text=True)
        seen = set()
        for line in done.stderr.splitlines():
            match = re.match(r"(\S+?):(\d+):\d+: warning: code should be clang-formatted", line)
            if match and match.group(1) not in seen:
                seen.add(match.group(1))
                self.add(match.group(1), match.group(2), "format", "run dev/format")


def within(path, folder):
    return path == folder or path.startswith(folder + "/")


def longest(table, name):
    fitting = [folder for folder in table if within(name, folder)]
    return max(fitting, key=len) if fitting else None


def without_comments_and_strings(text):
    """The text with the same line breaks, comments and literals blanked."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|'
                         r"'(?:\\.|[^'\\\n])'", re.S)
    return pattern.sub(lambda match: "\n" * match.group(0).count("\n") or " ", text)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
    problems = Tidy(root).run()
    for problem in problems:
        print(problem)
    print(f"{len(problems)} problems" if problems else "tidy")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
