// Runs a fuzz target as a test: the files of a folder, then mutations of them. Run k depends on the
// seed and k alone, so that a run that fails can be repeated:
//
//   NAME_fuzz FOLDER [RUNS [FIRST]]     seed: MILLRACE_FUZZ_SEED (1)
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr uint64_t kRuns = 20'000;
constexpr size_t kBytesMax = 4096;

volatile uint64_t current_run = 0;

void TellRun(int signal) {
  char text[96];
  const int length = std::snprintf(text, sizeof(text), "\nfailed in run %llu (signal %d)\n",
                                   static_cast<unsigned long long>(current_run), signal);
  (void)!fwrite(text, 1, static_cast<size_t>(length), stderr);
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void Run(const std::string& input) {
  // A copy of exactly its size: reading behind it is seen by sanitizers.
  const std::vector<uint8_t> bytes(input.begin(), input.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

std::string Mutate(const std::vector<std::string>& corpus, uint64_t seed, uint64_t run) {
  std::mt19937_64 random(seed * 1'000'000'007 + run);
  const auto below = [&](size_t n) { return n == 0 ? 0 : random() % n; };
  std::string input = corpus[below(corpus.size())];
  for (uint64_t step = 1 + below(8); step > 0; --step) {
    const size_t at = below(input.size() + 1);
    switch (below(7)) {
      case 0:
        if (at < input.size()) input[at] = static_cast<char>(input[at] ^ (1 << below(8)));
        break;
      case 1:
        input.insert(at, 1, static_cast<char>(random()));
        break;
      case 2:
        input.erase(at, 1 + below(8));
        break;
      case 3:
        input.resize(at);
        break;
      case 4: {  // A number at the edge of something.
        constexpr uint64_t kEdges[] = {
            0, 1, 0x7f, 0x80, 0xff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff};
        const uint64_t edge = kEdges[below(std::size(kEdges))];
        const size_t width = size_t{1} << below(4);
        if (at + width <= input.size()) std::memcpy(input.data() + at, &edge, width);
        break;
      }
      case 5:
        input.insert(at, input.substr(below(input.size() + 1), 1 + below(32)));
        break;
      default: {
        const std::string& other = corpus[below(corpus.size())];
        input = input.substr(0, at) + other.substr(below(other.size() + 1));
      }
    }
    if (input.size() > kBytesMax) input.resize(kBytesMax);
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER [RUNS [FIRST]]\n", argv[0]);
    return 2;
  }
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE, SIGBUS, SIGILL}) std::signal(signal, TellRun);
  const char* seed_text = std::getenv("MILLRACE_FUZZ_SEED");
  const uint64_t seed = seed_text == nullptr ? 1 : std::strtoull(seed_text, nullptr, 10);
  const uint64_t runs = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : kRuns;
  const uint64_t first = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 0;

  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    if (entry.is_regular_file()) names.push_back(entry.path());
  }
  std::sort(names.begin(), names.end());
  std::vector<std::string> corpus = {""};
  for (const std::string& name : names) {
    std::ifstream file(name, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (first == 0) {
    for (const std::string& input : corpus) Run(input);
  }
  for (uint64_t run = first; run < first + runs; ++run) {
    current_run = run;
    Run(Mutate(corpus, seed, run));
  }
  std::printf("%zu files, %llu mutations\n", corpus.size() - 1,
              static_cast<unsigned long long>(runs));
  return 0;
}
