"""Every rule of tidy.py finds what it forbids, in a small tree made for it."""

import pathlib
import shutil
import tempfile
import unittest

from tidy import README_LINES_MAX, Tidy

HOME = "/ho" + "me/someone/x"
NOTE = "TO" + "DO"


class TidyTest(unittest.TestCase):
    def setUp(self):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="tidy-"))
        self.addCleanup(shutil.rmtree, self.root)
        for folder in ("runtime", "operators", "sql", "coordinator", "worker", "cli"):
            self.file(f"{folder}/README.md", "# text\n")

    def file(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def problems(self):
        return Tidy(self.root).run()

    def assert_finds(self, rule, name, text, line=1):
        self.file(name, text)
        self.assertEqual([found for found in self.problems() if f": {rule}: " in found
                          and found.startswith(f"{name}:{line}:")][:1], self.problems()[:1])
        self.assertTrue(self.problems(), f"{name} passes: {text}")
        (self.root / name).unlink()
        self.assertEqual(self.problems(), [])

    def assert_passes(self, name, text):
        self.file(name, text)
        self.assertEqual(self.problems(), [])

    def test_an_empty_tree_is_tidy(self):
        self.assertEqual(self.problems(), [])

    def test_direction_of_includes(self):
        for name, included in (("coordinator/a.cc", "worker/worker.h"),
                               ("worker/a.cc", "coordinator/job_api.h"),
                               ("worker/a.cc", "sql/explain.h"),
                               ("runtime/base/a.h", "runtime/task/task.h"),
                               ("runtime/base/a.h", "millrace/v1/graph.pb.h"),
                               ("runtime/columns/a.h", "operators/windows/windows.h"),
                               ("runtime/exchange/a.h", "runtime/task/task.h"),
                               ("operators/catalog/a.h", "operators/formats/format.h"),
                               ("operators/windows/a.cc", "sql/explain.h"),
                               ("sql/a.cc", "operators/windows/windows.h"),
                               ("sql/a.cc", "runtime/task/task.h"),
                               ("coordinator/a.cc", "runtime/state/state_store.h"),
                               ("benchmarks_/a.cc", None), ("cli/a.cc", "tests/simulation/x.h")):
            if included:
                with self.subTest(f"{name} {included}"):
                    self.assert_finds("include", name, f'#include "{included}"\n')
        self.assert_passes("sql/a.cc", '#include "operators/catalog/catalog.h"\n')
        self.assert_passes("operators/windows/a.cc", '#include "operators/formats/format.h"\n')
        self.assert_passes("cli/a.cc", '#include "worker/worker.h"\n#include <vector>\n')

    def test_homes_of_libraries(self):
        for name, included in (("runtime/task/a.cc", "rocksdb/db.h"),
                               ("operators/windows/a.cc", "librdkafka/rdkafka.h"),
                               ("worker/a.cc", "prometheus/registry.h"),
                               ("coordinator/a.cc", "pg_query.h"),
                               ("worker/a.cc", "sqlite3.h"),
                               ("coordinator/a.cc", "yaml-cpp/yaml.h"),
                               ("coordinator/a.cc", "grpcpp/grpcpp.h"),
                               ("coordinator/a.h", "millrace/v1/job_service.grpc.pb.h")):
            with self.subTest(f"{name} {included}"):
                self.assert_finds("home", name, f"#include <{included}>\n")
        self.assert_passes("coordinator/a_rpc.cc", "#include <grpcpp/grpcpp.h>\n")
        self.assert_passes("runtime/state/a.cc", '#include "rocksdb/db.h"\n')

    def test_banned_calls(self):
        for call in ("std::chrono::system_clock::now()", "absl::Now()", "time(nullptr)",
                     "std::this_thread::sleep_for(x)", "absl::SleepFor(x)", "usleep(3)",
                     "std::thread t(f)", "std::async(f)", "rand()", "std::random_device d",
                     'std::printf("x")', "std::cout << 1", "exit(1)", "std::abort()",
                     "pid_t p = fork()", "_Fork()", "execve(a, b, c)", "popen(a, b)",
                     "std::system(a)"):
            with self.subTest(call):
                self.assert_finds("call", "runtime/task/a.cc",
                                  f"void F() {{\n  {call};\n}}\n", line=2)
        self.assert_passes("runtime/task/a.cc",
                           '// sleep_for is banned\nconst char* k = "rand()";\n'
                           "int n = std::thread::hardware_concurrency();\n"
                           "std::snprintf(b, 1, f);\nvoid OnTime(int time);\n")
        self.assert_passes("runtime/base/real_env.cc", "absl::Time t = absl::Now();\n")
        self.assert_passes("cli/a.cc", 'void F() { std::printf("x"); }\n')

    def test_columns(self):
        self.assert_finds("columns", "runtime/base/a.h", "//" + "x" * 99 + "\n")
        self.assert_passes("runtime/base/a.h", "//" + "x" * 98 + "\n")

    def test_words(self):
        self.assert_finds("word", "cli/a.h", f"// see {HOME}\n")
        self.assert_finds("word", "dev/README.md", f"\n{NOTE}: later\n", line=2)
        self.assert_finds("word", "cli/a.h", "int a; \n")
        self.assert_passes("cli/a.h", f"// {NOTE}(#12): later\n")

    def test_readmes(self):
        self.file("operators/pies/README.md", "# text\n")
        for i in range(5):
            self.file(f"operators/pies/{i}.cc", "")
        self.assertEqual(self.problems(), [])
        self.file("operators/pies/README.md", "\n" * (README_LINES_MAX + 1))
        self.assertIn("readme", self.problems()[0])
        (self.root / "operators/pies/README.md").unlink()
        self.assertIn("operators/pies:0: readme", self.problems()[0])
        shutil.rmtree(self.root / "operators/pies")
        (self.root / "worker/README.md").unlink()
        self.file("worker/a.h", "")
        self.assertIn("worker:0: readme", self.problems()[0])

    @unittest.skipUnless(shutil.which("clang-format-14"), "needs clang-format-14")
    def test_format(self):
        self.file(".clang-format", "BasedOnStyle: Google\n")
        self.assert_finds("format", "cli/a.cc", "int   a;\n")
        self.assert_passes("cli/a.cc", "int a;\n")


if __name__ == "__main__":
    unittest.main()
