// Reading golden values: the safetensors files under tests/golden, header-only.
//
// A file is: a little-endian uint64 with the length of a JSON header, the header {name: {dtype, shape, data_offsets}}, the
// bytes. Format: https://huggingface.co/docs/safetensors. A bad file throws std::runtime_error, which fails the test.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace tradewind::tests {

/// Path of tests/golden/`relative`.
inline std::string golden_path(const std::string& relative) {
  return std::string(TRADEWIND_SOURCE_DIR) + "/tests/golden/" + relative;
}

struct GoldenTensor {
  std::vector<std::int64_t> shape;
  std::string dtype;               // as the file spells it: "F32", "I64", ...
  std::vector<float> values;       // F32
  std::vector<std::int64_t> ints;  // I64, I32 widened

  std::int64_t elements() const {
    std::int64_t count = 1;
    for (const std::int64_t n : shape) count *= n;
    return count;
  }
  /// `ints` as the kernels take ids.
  std::vector<std::int32_t> ids() const { return {ints.begin(), ints.end()}; }
};

class GoldenTensors {
 public:
  explicit GoldenTensors(const std::string& path) : path_(path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) fail("cannot be opened");
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    std::uint64_t header = 0;
    if (bytes.size() < sizeof header) fail("is shorter than its header");
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header > bytes.size() - sizeof header) fail("is shorter than its header");
    const std::size_t data = sizeof header + header;
    const auto json = nlohmann::json::parse(bytes.begin() + sizeof header, bytes.begin() + static_cast<std::ptrdiff_t>(data));
    for (const auto& [name, entry] : json.items()) {
      if (name == "__metadata__") continue;
      GoldenTensor tensor{.shape = entry.at("shape").get<std::vector<std::int64_t>>(),
                          .dtype = entry.at("dtype").get<std::string>(),
                          .values = {},
                          .ints = {}};
      const auto begin = entry.at("data_offsets").at(0).get<std::size_t>(),
                 end = entry.at("data_offsets").at(1).get<std::size_t>();
      if (begin > end || end > bytes.size() - data) fail(name + " lies outside the file");
      const char* from = bytes.data() + data + begin;
      const auto count = static_cast<std::size_t>(tensor.elements());
      if (tensor.dtype == "F32") {
        tensor.values = read<float>(name, from, end - begin, count);
      } else if (tensor.dtype == "I64") {
        tensor.ints = read<std::int64_t>(name, from, end - begin, count);
      } else if (tensor.dtype == "I32") {
        const auto narrow = read<std::int32_t>(name, from, end - begin, count);
        tensor.ints.assign(narrow.begin(), narrow.end());
      } else {
        fail(name + " is of type " + tensor.dtype + ", which this reader does not know");
      }
      tensors_.emplace(name, std::move(tensor));
    }
  }

  bool has(const std::string& name) const { return tensors_.count(name) != 0; }
  const GoldenTensor& operator[](const std::string& name) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail("has no tensor " + name);
    return found->second;
  }
  const std::vector<float>& values(const std::string& name) const {
    if ((*this)[name].dtype != "F32") fail(name + " is not F32");
    return (*this)[name].values;
  }
  const std::map<std::string, GoldenTensor>& all() const { return tensors_; }

 private:
  [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error(path_ + ": " + what); }

  template <class T>
  std::vector<T> read(const std::string& name, const char* from, std::size_t bytes, std::size_t count) const {
    if (bytes != count * sizeof(T)) fail(name + " has as many bytes as its shape does not need");
    std::vector<T> out(count);
    if (count != 0) std::memcpy(out.data(), from, bytes);
    return out;
  }

  std::string path_;
  std::map<std::string, GoldenTensor> tensors_;
};

}  // namespace tradewind::tests
