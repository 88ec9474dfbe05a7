// The Python of README.md ("Reading an export without us") computes our logits from an export.
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/checkpoint/hdf5_export.h"
#include "runtime/text/tokenizer.h"
#include "tests/models/gpt_fixture.h"
#include "tests/support/temporary_folder.h"

namespace tradewind::tests {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The README's first Python block.
std::string python_of_readme() {
  const std::string text = read_file(std::filesystem::path(TRADEWIND_SOURCE_DIR) / "README.md");
  const auto begin = text.find("```python\n"), end = text.find("\n```", begin);
  BOOST_REQUIRE_MESSAGE(begin != std::string::npos && end != std::string::npos, "README.md has no Python block");
  return text.substr(begin + 10, end - begin - 9);
}

bool succeeds(const std::string& command) { return std::system(command.c_str()) == 0; }

BOOST_AUTO_TEST_CASE(python_of_the_readme_reproduces_the_logits) {
  std::string python;
  for (const char* candidate : {"python3", "/usr/bin/python3"})
    if (python.empty() && succeeds(std::string(candidate) + " -c 'import h5py, numpy, tomllib' 2>/dev/null"))
      python = candidate;
  if (python.empty()) {
    std::puts("SKIPPED models/readme_test: python3 (3.11 or newer) has no h5py and numpy");
    return;
  }
  const std::string text = "fair wind";
  const std::string_view views[] = {text};
  const auto tokenizer = runtime::make_char_tokenizer(runtime::distinct_characters(views), false);
  models::GptConfig config;
  config.layers = 2;
  config.heads = 3;
  config.channels = 24;
  config.context_length = 16;
  GptFixture gpt(config, tokenizer->vocabulary_size());
  std::vector<runtime::ExportTensor> tensors;
  for (const auto& p : gpt.model.parameters().parameters()) {  // far from the initial values, so that every term shows
    const auto values = random_values(static_cast<std::size_t>(p->shape().elements()), 7, 0.4);
    std::ranges::copy(values, p->value().data<float>());
    tensors.push_back({.name = p->name(), .data = p->value()});
  }
  const TemporaryFolder folder;
  const auto file = folder.path() / "model.h5", script = folder.path() / "logits.py", out = folder.path() / "logits.bin";
  runtime::export_hdf5(file, tensors,
                       {{"config", "[model]\nname = \"gpt\"\nlayers = 2\nheads = 3\nchannels = 24\ncontext = 16\n"},
                        {"tokenizer", tokenizer->to_json().dump()}},
                       false);
  std::ofstream(script) << python_of_readme() << "\nlogits.astype('<f4').tofile(sys.argv[3])\n";
  BOOST_REQUIRE(succeeds(python + " '" + script.string() + "' '" + file.string() + "' '" + text + "' '" + out.string() + "'"));

  const std::string bytes = read_file(out);
  std::vector<float> got(bytes.size() / sizeof(float));
  std::memcpy(got.data(), bytes.data(), got.size() * sizeof(float));
  const auto batch = models::token_rows({tokenizer->encode(text)}, {0});
  check_close("logits", got, gpt.model.logits(gpt.context, batch).span<float>(), 1e-5);
}

}  // namespace
}  // namespace tradewind::tests
