// Hugging Face directories: read, written, and read by transformers where it is installed.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <fstream>

#include "launcher/huggingface.h"
#include "runtime/checkpoint/huggingface.h"
#include "runtime/text/bpe_trainer.h"
#include "runtime/text/huggingface_files.h"
#include "tests/models/gpt_fixture.h"
#include "tests/support/safetensors.h"
#include "tests/support/throws.h"
#include "tests/support/tiny_run.h"

namespace tradewind::tests {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const models::Registry& registry() {
  static const models::Registry kAll = models::builtin_registry();
  return kAll;
}

json json_of(const fs::path& file) { return json::parse(text_of(file)); }

/// The golden GPT-2 as a directory of its own, to be changed.
class Gpt2 {
 public:
  Gpt2()
      : config_(json_of(golden_path("gpt2-tiny/config.json"))),
        tensors_(GoldenTensors(golden_path("gpt2-tiny/model.safetensors")).all()) {}
  json& config() { return config_; }
  std::map<std::string, GoldenTensor>& tensors() { return tensors_; }
  void rename(const std::string& from, const std::string& to) {
    auto node = tensors_.extract(from);
    BOOST_REQUIRE(!node.empty());
    node.key() = to;
    tensors_.insert(std::move(node));
  }
  /// The directory `name` of these tensors and config.
  fs::path write(const std::string& name) const {
    fs::path directory = scratch_.path() / name;
    fs::remove_all(directory);
    fs::create_directory(directory);
    std::ofstream(directory / "config.json") << config_.dump();
    write_file(directory / "model.safetensors", tensors_);
    return directory;
  }
  static void write_file(const fs::path& file, const std::map<std::string, GoldenTensor>& tensors) {
    std::vector<runtime::SafetensorsTensor> list;
    list.reserve(tensors.size());
    for (const auto& [name, tensor] : tensors)
      list.push_back({name, kernels::DType::kFloat32, tensor.shape, tensor.values.data()});
    runtime::DurableFile out(file);
    runtime::write_safetensors(out, list, {});
    out.finish();
  }
  const fs::path& scratch() const { return scratch_.path(); }
  /// Imports the directory and opens the run.
  launcher::LoadedRun imported(const fs::path& directory, const std::string& run) const {
    launcher::import_huggingface(directory, scratch_.path() / run, "byte", registry());
    return launcher::load_run(scratch_.path() / run, "last", {}, registry());
  }
  template <class E>
  void refuses(const std::vector<std::string>& parts) {
    const std::string name = "wrong-" + std::to_string(++count_);
    const fs::path directory = write(name), run = scratch_.path() / (name + "-run");
    check_throws<E>([&] { launcher::import_huggingface(directory, run, "byte", registry()); }, parts);
    BOOST_CHECK_MESSAGE(!fs::exists(run), "something was written: " << run);
  }

 private:
  TemporaryFolder scratch_;
  json config_;
  std::map<std::string, GoldenTensor> tensors_;
  int count_ = 0;
};

void check_logits(launcher::LoadedRun& run, double tolerance) {
  const GoldenTensors batch(golden_path("gpt2-tiny/batch.safetensors")), forward(golden_path("gpt2-tiny/forward.safetensors"));
  const auto& ids = batch["input_ids"].ints;
  const std::vector<std::vector<std::int32_t>> rows{{ids.begin(), ids.begin() + 32}, {ids.begin() + 32, ids.end()}};
  const auto logits = run.language_model().logits(*run.context, models::token_rows(rows, {0, 0}));
  check_close("logits", logits.span<float>(), forward["logits"].values, tolerance);
}

BOOST_AUTO_TEST_CASE(an_imported_gpt2_has_its_logits_and_is_exported_bit_for_bit) {
  const Gpt2 gpt2;
  auto run = gpt2.imported(golden_path("gpt2-tiny"), "run");
  check_logits(run, 1e-5);
  const fs::path to = gpt2.scratch() / "out";
  launcher::export_huggingface(run, to, false);
  const GoldenTensors want(golden_path("gpt2-tiny/model.safetensors")), got((to / "model.safetensors").string());
  BOOST_CHECK_EQUAL(got.all().size(), want.all().size());
  for (const auto& [name, tensor] : want.all())
    BOOST_CHECK_MESSAGE(got[name].values == tensor.values && got[name].shape == tensor.shape, name);
  const json wanted = json_of(golden_path("gpt2-tiny/config.json")), config = json_of(to / "config.json");
  for (const char* key : {"model_type", "architectures", "activation_function", "n_layer", "n_head", "n_embd", "n_inner",
                          "n_positions", "vocab_size", "layer_norm_epsilon", "embd_pdrop", "attn_pdrop", "resid_pdrop",
                          "tie_word_embeddings", "bos_token_id", "eos_token_id", "scale_attn_weights", "initializer_range"})
    BOOST_CHECK_MESSAGE(config.at(key) == wanted.at(key), key << ": " << config.at(key) << ", want " << wanted.at(key));
}

BOOST_AUTO_TEST_CASE(published_files_are_read_too) {
  Gpt2 gpt2;  // names without the prefix, masks, the head written out once more
  auto names = gpt2.tensors();
  for (const auto& [name, tensor] : names) gpt2.rename(name, name.substr(std::string("transformer.").size()));
  gpt2.tensors()["h.0.attn.bias"] = {{1, 1, 2, 2}, "F32", {1, 0, 1, 1}, {}};
  gpt2.tensors()["h.1.attn.masked_bias"] = {{}, "F32", {-1e4F}, {}};
  gpt2.tensors()["lm_head.weight"] = gpt2.tensors().at("wte.weight");
  auto run = gpt2.imported(gpt2.write("published"), "published-run");
  check_logits(run, 1e-5);
  gpt2.tensors().at("lm_head.weight").values[3] += 1;
  gpt2.refuses<CheckpointError>({"lm_head.weight", "tie_word_embeddings"});
  gpt2.config()["tie_word_embeddings"] = false;  // then it is a head of its own
  auto untied = gpt2.imported(gpt2.write("untied"), "untied-run");
  launcher::export_huggingface(untied, gpt2.scratch() / "untied-out", false);
  const GoldenTensors out((gpt2.scratch() / "untied-out" / "model.safetensors").string());
  BOOST_CHECK(out["lm_head.weight"].values == gpt2.tensors().at("lm_head.weight").values);
}

BOOST_AUTO_TEST_CASE(shards_are_put_together) {
  const Gpt2 gpt2;
  auto whole = Gpt2();
  const fs::path directory = whole.write("shards");
  fs::remove(directory / "model.safetensors");
  std::map<std::string, GoldenTensor> parts[2];
  json index = {{"weight_map", json::object()}};
  std::size_t i = 0;
  for (const auto& [name, tensor] : whole.tensors()) {
    parts[i % 2][name] = tensor;
    index["weight_map"][name] = i % 2 == 0 ? "a.safetensors" : "b.safetensors";
    ++i;
  }
  Gpt2::write_file(directory / "a.safetensors", parts[0]);
  Gpt2::write_file(directory / "b.safetensors", parts[1]);
  std::ofstream(directory / "model.safetensors.index.json") << index.dump();
  auto run = whole.imported(directory, "shards-run");
  check_logits(run, 1e-5);
  fs::remove(directory / "b.safetensors");
  check_throws<CheckpointError>([&] { launcher::import_huggingface(directory, whole.scratch() / "no", "byte", registry()); },
                                {"b.safetensors"});
}

BOOST_AUTO_TEST_CASE(half_precision_weights_are_widened_exactly) {
  BOOST_CHECK_EQUAL(runtime::float_of_half(0x3C00), 1.0F);
  BOOST_CHECK_EQUAL(runtime::float_of_half(0xC000), -2.0F);
  BOOST_CHECK_EQUAL(runtime::float_of_half(0x0001), std::ldexp(1.0F, -24));
  BOOST_CHECK_EQUAL(runtime::float_of_half(0x03FF), std::ldexp(1023.0F, -24));
  BOOST_CHECK_EQUAL(runtime::float_of_half(0x7BFF), 65504.0F);
  BOOST_CHECK(std::signbit(runtime::float_of_half(0x8000)));
  BOOST_CHECK(std::isinf(runtime::float_of_half(0x7C00)) && std::isnan(runtime::float_of_half(0x7E00)));
  BOOST_CHECK_EQUAL(runtime::float_of_bfloat16(0x3FC0), 1.5F);
  Gpt2 gpt2;  // every weight to bfloat16 by cutting, written as such
  const fs::path directory = gpt2.write("bf16");
  fs::remove(directory / "model.safetensors");
  std::map<std::string, std::vector<std::uint16_t>> bits;
  std::vector<runtime::SafetensorsTensor> list;
  for (const auto& [name, tensor] : gpt2.tensors()) {
    for (const float x : tensor.values) bits[name].push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16));
    list.push_back({name, kernels::DType::kBFloat16, tensor.shape, bits[name].data()});
  }
  {
    runtime::DurableFile out(directory / "model.safetensors");
    runtime::write_safetensors(out, list, {});
    out.finish();
  }
  const auto run = gpt2.imported(directory, "bf16-run");
  const auto got = run.task->parameters().find("token_embedding.weight")->value().span<float>();
  const auto& from = bits.at("transformer.wte.weight");
  for (std::size_t i = 0; i < from.size(); ++i) BOOST_REQUIRE_EQUAL(got[i], runtime::float_of_bfloat16(from[i]));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused_and_nothing_is_written) {
  const auto with = [](const std::function<void(Gpt2&)>& change) {
    auto out = std::make_unique<Gpt2>();
    change(*out);
    return out;
  };
  with([](Gpt2& g) {
    g.tensors().erase("transformer.h.1.mlp.c_fc.bias");
  })->refuses<CheckpointError>({"transformer.h.1.mlp.c_fc.bias", "no tensor"});
  with([](Gpt2& g) {
    g.tensors()["score.weight"] = {{2}, "F32", {1, 2}, {}};
  })->refuses<CheckpointError>({"score.weight", "no place"});
  with([](Gpt2& g) { g.config()["n_inner"] = 128; })->refuses<CheckpointError>({"mlp.c_fc.weight", "[64, 256]", "[64, 128]"});
  with([](Gpt2& g) { g.config()["model_type"] = "llama"; })->refuses<ConfigError>({"\"llama\"", "\"gpt2\""});
  with([](Gpt2& g) { g.config()["activation_function"] = "mish"; })->refuses<ConfigError>({"mish"});
  with([](Gpt2& g) {
    g.config()["scale_attn_by_inverse_layer_idx"] = true;
  })->refuses<ConfigError>({"scale_attn_by_inverse_layer_idx"});
  with([](Gpt2& g) { g.config()["n_layer"] = "two"; })->refuses<ConfigError>({"n_layer", "\"two\""});
  with([](Gpt2& g) { g.config().erase("n_embd"); })->refuses<ConfigError>({"n_embd", "missing"});
  with([](Gpt2& g) { g.config()["n_head"] = 5; })->refuses<ConfigError>({"channels", "heads"});
  with([](Gpt2& g) { g.config()["vocab_size"] = 100; })->refuses<ConfigError>({"257", "100", "vocab_size"});

  Gpt2 gpt2;
  const fs::path directory = gpt2.write("files"), run = gpt2.scratch() / "files-run";
  const auto refused = [&]<class E>(const std::vector<std::string>& parts, const std::string& tokenizer = "byte") {
    check_throws<E>([&] { launcher::import_huggingface(directory, run, tokenizer, registry()); }, parts);
    BOOST_CHECK(!fs::exists(run));
  };
  refused.operator()<ConfigError>({"no tokenizer", "--tokenizer byte"}, "auto");
  std::ofstream(directory / "config.json") << "{";
  refused.operator()<CheckpointError>({"config.json", "no JSON"});
  fs::remove(directory / "config.json");
  refused.operator()<ConfigError>({"no Hugging Face directory"});
  gpt2.write("files");
  fs::rename(directory / "model.safetensors", directory / "pytorch_model.bin");
  refused.operator()<CheckpointError>({"pytorch_model.bin", "save_pretrained"});
  std::ofstream(directory / "model.safetensors") << "short";
  refused.operator()<CheckpointError>({"model.safetensors", "damaged"});
}

struct Cli : TinyRun {
  Cli() : TinyRun(TRADEWIND_BINARY) {}
};

BOOST_AUTO_TEST_CASE(a_run_comes_back_from_its_export_to_the_bit) {
  const Cli cli;
  const auto& at = cli.scratch().path();
  Outcome o = cli.tradewind({"export", "run", "--format", "huggingface", "--to", "hf"});
  BOOST_REQUIRE_MESSAGE(o.code == 0 && holds(o.output, "hf: "), o);
  o = cli.tradewind({"import", "hf", "--to", "again"});
  BOOST_REQUIRE_MESSAGE(o.code == 0 && holds(o.output, "char tokenizer"), o);
  o = cli.tradewind({"export", "again", "--format", "huggingface", "--to", "hf2"});
  BOOST_REQUIRE_MESSAGE(o.code == 0, o);
  for (const char* name : {"model.safetensors", "tokenizer.json", "tradewind_tokenizer.json", "tokenizer_config.json"})
    BOOST_CHECK_MESSAGE(text_of(at / "hf" / name) == text_of(at / "hf2" / name), name);
  const Outcome one = cli.tradewind({"generate", "run", "--prompt", "A soft", "--tokens", "40"});
  const Outcome two = cli.tradewind({"generate", "again", "--prompt", "A soft", "--tokens", "40"});
  BOOST_CHECK_MESSAGE(one.code == 0 && one.output == two.output && holds(one.output, "A soft"), two);
  o = cli.tradewind({"train", "tiny.toml", "--set", "run.directory=lines", "--set", "data.documents=line"});
  BOOST_REQUIRE_MESSAGE(o.code == 0, o);
  BOOST_REQUIRE_EQUAL(cli.tradewind({"export", "lines", "--format", "huggingface", "--to", "lines-hf"}).code, 0);
  BOOST_REQUIRE_EQUAL(cli.tradewind({"import", "lines-hf", "--to", "lines2"}).code, 0);
  const Outcome three = cli.tradewind({"generate", "lines"}), four = cli.tradewind({"generate", "lines2"});
  BOOST_CHECK_MESSAGE(three.code == 0 && three.output == four.output, four);  // texts that begin a document
  for (const auto& verb : std::vector<std::vector<std::string>>{
           {"verify", "again"}, {"inspect", "again"}, {"evaluate", "again", "--set", "data.path=text.txt"}}) {
    const Outcome outcome = cli.tradewind(verb);
    BOOST_CHECK_MESSAGE(outcome.code == 0, verb[0] << ": " << outcome);
  }
  o = cli.tradewind({"train", "again/config.toml"});
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "--fresh"), o);  // a finished run
}

BOOST_AUTO_TEST_CASE(training_begins_with_the_parameters_of_another_run) {
  const Cli cli;
  BOOST_REQUIRE_EQUAL(cli.tradewind({"export", "run", "--format", "huggingface", "--to", "hf"}).code, 0);
  BOOST_REQUIRE_EQUAL(cli.tradewind({"import", "hf", "--to", "start"}).code, 0);
  const auto first_loss = [&](const std::string& run, const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"train", "tiny.toml", "--set", "run.directory=" + run};
    for (const auto& m : more) arguments.insert(arguments.end(), {"--set", m});
    const Outcome o = cli.tradewind(arguments);
    BOOST_REQUIRE_MESSAGE(o.code == 0, o);
    const std::string metrics = text_of(cli.scratch().path() / run / "metrics.jsonl");
    return json::parse(metrics.substr(0, metrics.find('\n'))).at("loss").get<double>();
  };
  const double plain = first_loss("plain", {}), tuned = first_loss("tuned", {"run.from=start"});
  BOOST_CHECK_LT(tuned, plain - 0.1);
  Outcome o = cli.tradewind({"train", "tiny.toml", "--set", "run.directory=x", "--set", "run.from=nowhere"});
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "run.from") && holds(o.errors, "nowhere"), o);
  o = cli.tradewind(
      {"train", "tiny.toml", "--set", "run.directory=y", "--set", "run.from=start", "--set", "model.channels=32"});
  BOOST_CHECK_MESSAGE(o.code == 4 && holds(o.errors, "token_embedding.weight"), o);
  o = cli.tradewind(
      {"train", "tiny.toml", "--set", "run.directory=z", "--set", "run.from=start", "--set", "data.tokenizer=byte"});
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "data.tokenizer"), o);
}

BOOST_AUTO_TEST_CASE(exports_replace_nothing_but_exports) {
  const Cli cli;
  const auto& at = cli.scratch().path();
  const std::vector<std::string> to_hf{"export", "run", "--format", "huggingface", "--to", "hf"};
  auto over = to_hf;
  over.emplace_back("--overwrite");
  BOOST_REQUIRE_EQUAL(cli.tradewind(to_hf).code, 0);
  Outcome o = cli.tradewind(to_hf);
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "--overwrite"), o);
  std::ofstream(at / "hf" / "mine.txt") << "x";
  o = cli.tradewind(over);
  BOOST_CHECK_MESSAGE(o.code == 0 && fs::exists(at / "hf" / "config.json"), o);
  fs::create_directory(at / "home");
  std::ofstream(at / "home" / "letters.txt") << "x";
  over[5] = "home";
  o = cli.tradewind(over);
  BOOST_CHECK_MESSAGE(o.code == 2 && fs::exists(at / "home" / "letters.txt"), o);
  over[5] = "no/where";
  o = cli.tradewind(over);
  BOOST_CHECK_MESSAGE(o.code == 4 && holds(o.errors, "no/where"), o);
  o = cli.tradewind({"export", "run", "--format", "onnx", "--to", "x"});
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "onnx"), o);
  o = cli.tradewind({"train", "tiny.toml", "--set", "run.directory=rope", "--set", "model.position=rope"});
  BOOST_REQUIRE_MESSAGE(o.code == 0, o);
  o = cli.tradewind({"export", "rope", "--format", "huggingface", "--to", "rope-hf"});
  BOOST_CHECK_MESSAGE(o.code == 2 && holds(o.errors, "model.position = \"rope\"") && !fs::exists(at / "rope-hf"), o);
  o = Command({TRADEWIND_BINARY, "export", "run", "--format", "huggingface", "--to", "full"}, at, "C.UTF-8", 9000).wait();
  BOOST_CHECK_MESSAGE(o.code == 4 && !fs::exists(at / "full"), o);
  for (const auto& entry : fs::directory_iterator(at))
    BOOST_CHECK_MESSAGE(!holds(entry.path().filename().string(), "full"), "left over: " << entry.path());
}

constexpr const char* kWords = "Soft towels, softer towels; 12 towels of linen. Straßenbahn 和服 don't\n\n  two  blanks ";

std::unique_ptr<runtime::Tokenizer> small_bpe() {
  runtime::WordCounts words;
  words.add(kWords);
  return runtime::make_bpe_tokenizer(runtime::train_bpe(words, 290, true));
}

BOOST_AUTO_TEST_CASE(a_byte_level_bpe_is_read_back_from_gpt2s_files) {
  const TemporaryFolder folder;
  const auto bpe = small_bpe();
  for (const auto& [name, text] : runtime::huggingface_files(*bpe, 64)) folder.write(name, text);
  BOOST_CHECK(runtime::read_huggingface_tokenizer(folder.path())->encode(kWords) == bpe->encode(kWords));
  fs::remove(folder.path() / "tradewind_tokenizer.json");
  const auto again = runtime::read_huggingface_tokenizer(folder.path());
  BOOST_CHECK(again->encode(kWords) == bpe->encode(kWords));
  BOOST_CHECK_EQUAL(again->vocabulary_size(), bpe->vocabulary_size());
  BOOST_CHECK(again->end_of_text() == bpe->end_of_text());
  const auto bytes = runtime::make_byte_tokenizer();  // GPT-2's kind without merges: the same ids
  for (const auto& [name, text] : runtime::huggingface_files(*bytes, 64)) folder.write(name, text);
  fs::remove(folder.path() / "tradewind_tokenizer.json");
  BOOST_CHECK(runtime::read_huggingface_tokenizer(folder.path())->encode(kWords) == bytes->encode(kWords));
}

constexpr const char* kTransformers = R"(
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
text = open(sys.argv[2], encoding="utf-8").read()
tokenizer, model = AutoTokenizer.from_pretrained(sys.argv[1]), AutoModelForCausalLM.from_pretrained(sys.argv[1])
ids = tokenizer(text)["input_ids"]
with torch.no_grad(): logits = model(torch.tensor([ids])).logits[0]
json.dump({"ids": ids, "text": tokenizer.decode(ids), "logits": logits.flatten().tolist()}, open(sys.argv[3], "w"))
)";

/// The Python with transformers; "", and a reported skip, where there is none.
std::string python_with_transformers() {
  const char* set = std::getenv("TRADEWIND_PYTHON");
  std::string python = set != nullptr ? set : "python3";
  if (std::system((python + " -c 'import torch, transformers' 2>/dev/null >&2").c_str()) == 0) return python;
  std::printf("SKIPPED launcher/huggingface_test: %s has no torch and transformers (TRADEWIND_PYTHON names another)\n",
              python.c_str());
  return {};
}

constexpr const char* kAutoTokenizer = R"(
import json, sys
from transformers import AutoTokenizer
text = open(sys.argv[2], encoding="utf-8", newline="").read()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
ids = tokenizer(text)["input_ids"]
json.dump({"ids": ids, "text": tokenizer.decode(ids), "end": tokenizer.eos_token_id}, open(sys.argv[3], "w"))
)";

BOOST_AUTO_TEST_CASE(transformers_reads_the_tokenizers) {
  const std::string python = python_with_transformers();
  if (python.empty()) return;
  const TemporaryFolder folder;
  folder.write("read.py", kAutoTokenizer);
  folder.write("text.txt", kWords);
  const std::string_view views[] = {kWords};
  std::vector<std::unique_ptr<runtime::Tokenizer>> tokenizers;
  tokenizers.push_back(small_bpe());
  tokenizers.push_back(runtime::make_byte_tokenizer());
  tokenizers.push_back(runtime::make_char_tokenizer(runtime::distinct_characters(views), true));
  tokenizers.push_back(runtime::make_char_tokenizer(runtime::distinct_characters(views), false));
  for (const auto& tokenizer : tokenizers) {
    fs::create_directory(folder.path() / "hf");
    for (const auto& [name, text] : runtime::huggingface_files(*tokenizer, 64)) folder.write("hf/" + name, text);
    const std::string command =
        "cd " + folder.path().string() + " && HF_HUB_OFFLINE=1 " + python + " read.py hf text.txt out.json > python.log 2>&1";
    BOOST_REQUIRE_MESSAGE(std::system(command.c_str()) == 0, tokenizer->name()
                                                                 << ": " << text_of(folder.path() / "python.log"));
    const json out = json_of(folder.path() / "out.json");
    BOOST_CHECK_MESSAGE(out.at("ids").get<std::vector<std::int32_t>>() == tokenizer->encode(kWords), tokenizer->name());
    BOOST_CHECK_EQUAL(out.at("text").get<std::string>(), kWords);
    BOOST_CHECK(out.at("end") == (tokenizer->end_of_text() ? json(*tokenizer->end_of_text()) : json()));
    fs::remove_all(folder.path() / "hf");
  }
}

BOOST_AUTO_TEST_CASE(transformers_reads_what_is_exported) {
  const std::string python = python_with_transformers();
  if (python.empty()) return;
  const Cli cli;
  const auto& at = cli.scratch().path();
  cli.scratch().write("read.py", kTransformers);
  for (const std::string tokenizer : {"char", "byte"}) {
    Outcome o = cli.tradewind({"train", "tiny.toml", "--set", "run.directory=" + tokenizer, "--set",
                               "data.tokenizer=" + tokenizer, "--set", "data.documents=line", "--set", "model.bias=false"});
    BOOST_REQUIRE_MESSAGE(o.code == 0, o);
    o = cli.tradewind({"export", tokenizer, "--format", "huggingface", "--to", tokenizer + "-hf"});
    BOOST_REQUIRE_MESSAGE(o.code == 0, o);
    cli.scratch().write("prompt.txt", "A soft towel");
    std::string command = "cd " + at.string();
    command += " && HF_HUB_OFFLINE=1 " + python;
    command += " read.py " + tokenizer + "-hf prompt.txt out.json > python.log 2>&1";
    BOOST_REQUIRE_MESSAGE(std::system(command.c_str()) == 0, text_of(at / "python.log"));
    const json out = json_of(at / "out.json");
    auto run = launcher::load_run(at / tokenizer, "last", {}, registry());
    const auto ids = run.tokenizer->encode("A soft towel");
    BOOST_CHECK(out.at("ids").get<std::vector<std::int32_t>>() == ids);
    BOOST_CHECK_EQUAL(out.at("text").get<std::string>(), "A soft towel");
    const auto logits = run.language_model().logits(*run.context, models::token_rows({ids}, {0}));
    check_close("logits of transformers", logits.span<float>(), out.at("logits").get<std::vector<float>>(), 1e-5);
  }
}

}  // namespace
}  // namespace tradewind::tests
