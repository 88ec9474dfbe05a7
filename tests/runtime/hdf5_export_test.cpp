#include "runtime/checkpoint/hdf5_export.h"

#include <hdf5.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <boost/test/unit_test.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>

#include "tests/support/oracle.h"
#include "tests/support/temporary_folder.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using nlohmann::json;
using tests::check_throws;
using tests::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

Tensor tensor(const Shape& shape, std::uint32_t seed) {
  Tensor out(host_allocator(), shape, DType::kFloat32);
  std::ranges::copy(tests::random_values(static_cast<std::size_t>(shape.elements()), seed), out.data<float>());
  return out;
}

std::vector<ExportTensor> model() {
  return {{"embedding.weight", tensor({7, 5}, 1)},
          {"blocks.0.attention.qkv.weight", tensor({3, 65}, 2)},
          {"blocks.0.attention.qkv.bias", tensor({3}, 3)},
          {"blocks.10.mlp.weight", tensor({2, 3, 4, 1, 2}, 4)},
          {"temperature", tensor({}, 5)},
          {"blocks.0.scale", tensor({1}, 6)},
          {"empty", tensor({0, 3}, 7)}};
}

std::string contents(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> out;
  for (const auto& entry : fs::directory_iterator(folder)) out.push_back(entry.path().filename().string());
  std::ranges::sort(out);
  return out;
}

using Names = std::vector<std::string>;

struct ReadBack {
  std::vector<hsize_t> extent;
  H5S_class_t space;
  H5D_layout_t layout;
  bool float32;
  std::vector<float> values;
};

/// With the library's own driver, as any other program reads it.
ReadBack read_tensor(const fs::path& file_name, const std::string& path) {
  const hid_t file = H5Fopen(file_name.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t data = H5Dopen2(file, path.c_str(), H5P_DEFAULT);
  BOOST_REQUIRE_GE(data, 0);
  const hid_t space = H5Dget_space(data), type = H5Dget_type(data), properties = H5Dget_create_plist(data);
  ReadBack out;
  out.extent.resize(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space)));
  H5Sget_simple_extent_dims(space, out.extent.data(), nullptr);
  out.space = H5Sget_simple_extent_type(space);
  out.layout = H5Pget_layout(properties);
  out.float32 = H5Tequal(type, H5T_IEEE_F32LE) > 0;
  out.values.resize(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space)));
  BOOST_REQUIRE_GE(H5Dread(data, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, out.values.data()), 0);
  H5Pclose(properties), H5Tclose(type), H5Sclose(space), H5Dclose(data), H5Fclose(file);
  return out;
}

/// `text` where the attribute is a variable-length UTF-8 string, else the number under `number`.
struct AttributeRead {
  std::string text;
  double real = 0;
  std::int64_t integer = 0;
  H5T_class_t type = H5T_NO_CLASS;
};

AttributeRead read_attribute(const fs::path& file_name, const std::string& key) {
  const hid_t file = H5Fopen(file_name.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const hid_t attribute = H5Aopen(file, key.c_str(), H5P_DEFAULT);
  BOOST_REQUIRE_GE(attribute, 0);
  const hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
  AttributeRead out;
  out.type = H5Tget_class(type);
  BOOST_TEST(H5Sget_simple_extent_type(space) == H5S_SCALAR);
  if (out.type == H5T_STRING) {
    BOOST_TEST(H5Tis_variable_str(type) > 0);
    BOOST_TEST(H5Tget_cset(type) == H5T_CSET_UTF8);
    char* text = nullptr;
    BOOST_REQUIRE_GE(H5Aread(attribute, type, &text), 0);
    if (text != nullptr) out.text = text;
    H5free_memory(text);
  } else if (out.type == H5T_FLOAT) {
    H5Aread(attribute, H5T_NATIVE_DOUBLE, &out.real);
  } else {
    H5Aread(attribute, H5T_NATIVE_INT64, &out.integer);
  }
  H5Sclose(space), H5Tclose(type), H5Aclose(attribute), H5Fclose(file);
  return out;
}

void check_model(const fs::path& path, const std::vector<ExportTensor>& tensors) {
  for (const auto& [name, data] : tensors) {
    BOOST_TEST_CONTEXT(name) {
      std::string dataset = "/" + name;
      std::ranges::replace(dataset, '.', '/');
      const ReadBack got = read_tensor(path, dataset);
      BOOST_TEST(std::ranges::equal(got.extent, data.shape().sizes()));
      BOOST_TEST(got.space == (data.shape().rank() == 0 ? H5S_SCALAR : H5S_SIMPLE));
      BOOST_TEST(got.layout == H5D_CONTIGUOUS);
      BOOST_TEST(got.float32);
      BOOST_TEST(std::ranges::equal(got.values, data.span<float>()));
    }
  }
}

bool command_succeeds(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

/// No file of this process may grow beyond `bytes` while this lives: what a full disk does to a write, with EFBIG.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit now{bytes, before_.rlim_max};
    if (setrlimit(RLIMIT_FSIZE, &now) != 0) throw std::runtime_error("setrlimit");
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  void (*signal_)(int);
  rlimit before_{};
};

}  // namespace

BOOST_AUTO_TEST_CASE(every_tensor_reads_back_with_its_shape_under_the_path_of_its_name) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.h5";
  const auto tensors = model();
  export_hdf5(path, tensors, json::object(), false);
  check_model(path, tensors);
  BOOST_TEST(names_in(folder.path()) == Names{"model.h5"}, boost::test_tools::per_element());
}

// Numbers of items, too large for a float.
BOOST_AUTO_TEST_CASE(integers_stay_integers) {
  const TemporaryFolder folder;
  const Tensor small(host_allocator(), {2}, DType::kInt32), large(host_allocator(), {3}, DType::kInt64);
  small.data<std::int32_t>()[0] = 16777217, small.data<std::int32_t>()[1] = -7;
  for (int i = 0; i < 3; ++i) large.data<std::int64_t>()[i] = (std::int64_t{1} << 53) + i;
  const auto to = folder.path() / "model.h5";
  export_hdf5(to, {{"neighbours.items", small}, {"neighbours.offsets", large}}, nullptr, false);
  const hid_t file = H5Fopen(to.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  const auto read = [&](const char* path, hid_t wanted, hid_t native, void* into) {
    const hid_t data = H5Dopen2(file, path, H5P_DEFAULT), type = H5Dget_type(data);
    BOOST_TEST(H5Tequal(type, wanted) > 0);
    BOOST_REQUIRE_GE(H5Dread(data, native, H5S_ALL, H5S_ALL, H5P_DEFAULT, into), 0);
    H5Tclose(type), H5Dclose(data);
  };
  std::int32_t items[2];
  std::int64_t offsets[3];
  read("/neighbours/items", H5T_STD_I32LE, H5T_NATIVE_INT32, items);
  read("/neighbours/offsets", H5T_STD_I64LE, H5T_NATIVE_INT64, offsets);
  H5Fclose(file);
  BOOST_TEST(std::ranges::equal(items, small.span<std::int32_t>()));
  BOOST_TEST(std::ranges::equal(offsets, large.span<std::int64_t>()));
}

BOOST_AUTO_TEST_CASE(bits_survive_not_only_values) {
  const TemporaryFolder folder;
  const std::vector<std::uint32_t> bits = {0x80000000, 0x7f800000, 0xff800000, 0x7fc00000,
                                           0x7f800001, 0xffc12345, 1,          0x3f800001};
  Tensor odd(host_allocator(), {8}, DType::kFloat32);
  std::ranges::transform(bits, odd.data<float>(), [](std::uint32_t b) { return std::bit_cast<float>(b); });
  export_hdf5(folder.path() / "odd.h5", {{"odd", odd}}, nullptr, false);
  const auto got = read_tensor(folder.path() / "odd.h5", "/odd").values;
  for (std::size_t i = 0; i < bits.size(); ++i) BOOST_TEST(std::bit_cast<std::uint32_t>(got[i]) == bits[i]);
}

BOOST_AUTO_TEST_CASE(bfloat16_becomes_float32) {
  const TemporaryFolder folder;
  Tensor half(host_allocator(), {2, 2}, DType::kBFloat16);
  const std::uint16_t bits[] = {0x3f80, 0xc040, 0x0000, 0x3eaa};  // 1, -3, 0, 0.33203125
  std::ranges::copy(bits, static_cast<std::uint16_t*>(half.raw()));
  export_hdf5(folder.path() / "half.h5", {{"a.half", half}}, nullptr, false);
  const ReadBack got = read_tensor(folder.path() / "half.h5", "/a/half");
  BOOST_TEST(got.float32);
  BOOST_TEST(got.values == (std::vector<float>{1, -3, 0, 0.33203125F}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(attributes_keep_their_type) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.h5";
  const std::string tokenizer(5'000'000, 'x');  // far beyond the 64 KiB of an object header
  export_hdf5(path, {{"w", tensor({2}, 1)}},
              {{"config", "[model]\nname = \"gpt\"\n"},
               {"tokenizer", tokenizer},
               {"naïve", "日本 €"},
               {"empty", ""},
               {"step", 12},
               {"negative", -3},
               {"large", std::numeric_limits<std::uint64_t>::max()},
               {"loss", 1.25},
               {"tied", true},
               {"metrics", {{"perplexity", 3.5}}}},
              false);
  BOOST_TEST(read_attribute(path, "format").text == "tradewind");
  BOOST_TEST(read_attribute(path, "format_version").integer == 1);
  BOOST_TEST(read_attribute(path, "config").text == "[model]\nname = \"gpt\"\n");
  BOOST_TEST((read_attribute(path, "tokenizer").text == tokenizer));
  BOOST_TEST(read_attribute(path, "naïve").text == "日本 €");
  BOOST_TEST(read_attribute(path, "empty").text == "");
  BOOST_TEST(read_attribute(path, "empty").type == H5T_STRING);
  BOOST_TEST(read_attribute(path, "step").integer == 12);
  BOOST_TEST(read_attribute(path, "step").type == H5T_INTEGER);
  BOOST_TEST(read_attribute(path, "negative").integer == -3);
  BOOST_TEST(read_attribute(path, "large").type == H5T_INTEGER);
  BOOST_TEST(read_attribute(path, "loss").real == 1.25);
  BOOST_TEST(read_attribute(path, "loss").type == H5T_FLOAT);
  BOOST_TEST(read_attribute(path, "tied").text == "true");
  BOOST_TEST(read_attribute(path, "metrics").text == "{\"perplexity\":3.5}");
}

BOOST_AUTO_TEST_CASE(the_same_input_gives_the_same_bytes) {
  const TemporaryFolder folder;
  for (const char* name : {"a.h5", "b.h5"}) {
    export_hdf5(folder.path() / name, model(), {{"config", "x = 1"}}, false);
    if (name[0] == 'a') sleep(1);  // times have a resolution of a second
  }
  BOOST_TEST((contents(folder.path() / "a.h5") == contents(folder.path() / "b.h5")));
}

BOOST_AUTO_TEST_CASE(hundreds_of_tensors_and_attributes) {
  const TemporaryFolder folder;
  std::vector<ExportTensor> tensors;
  json attributes;
  for (int i = 0; i < 600; ++i) {
    tensors.push_back({"blocks." + std::to_string(i % 100) + ".part" + std::to_string(i / 100) + ".weight",
                       tensor({i % 9 + 1, 65}, static_cast<std::uint32_t>(i))});
    attributes["key" + std::to_string(i)] = std::string(static_cast<std::size_t>(i), 'v');
  }
  export_hdf5(folder.path() / "many.h5", tensors, attributes, false);
  check_model(folder.path() / "many.h5", tensors);
  BOOST_TEST(read_attribute(folder.path() / "many.h5", "key599").text == std::string(599, 'v'));
}

BOOST_AUTO_TEST_CASE(h5dump_opens_it) {
  if (!command_succeeds("h5dump --version")) {
    std::cout << "SKIPPED h5dump_opens_it: no h5dump here" << std::endl;
    return;
  }
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.h5";
  export_hdf5(path, model(), {{"config", std::string(100'000, 'c')}}, false);
  const fs::path header = folder.path() / "header";
  BOOST_TEST(std::system(("h5dump -H '" + path.string() + "' >'" + header.string() + "'").c_str()) == 0);
  const std::string text = contents(header);
  for (const char* part :
       {"GROUP \"attention\"", "DATASET \"qkv\"", "GROUP \"qkv\"", "H5T_IEEE_F32LE", "ATTRIBUTE \"config\""}) {
    const bool expected = std::string(part) != "DATASET \"qkv\"";  // qkv is a module
    BOOST_TEST((text.find(part) != std::string::npos) == expected, part);
  }
}

BOOST_AUTO_TEST_CASE(h5py_reads_it) {
  std::string python;
  for (const char* candidate : {"python3", "/usr/bin/python3"}) {  // the second has the system's packages
    if (python.empty() && command_succeeds(candidate + std::string(" -c 'import h5py'"))) python = candidate;
  }
  if (python.empty()) {
    std::cout << "SKIPPED h5py_reads_it: python3 has no h5py" << std::endl;
    return;
  }
  const TemporaryFolder folder;
  Tensor counted(host_allocator(), {2, 3}, DType::kFloat32), scalar(host_allocator(), {}, DType::kFloat32);
  for (int i = 0; i < 6; ++i) counted.data<float>()[i] = static_cast<float>(i);
  scalar.fill(2.5F);
  export_hdf5(folder.path() / "model.h5", {{"a.b.c", counted}, {"s", scalar}},
              {{"text", "日本"}, {"long", std::string(3'000'000, 'y')}, {"none", ""}, {"n", 7}, {"x", 0.5}}, false);
  const fs::path script = folder.write("read.py", R"(
import sys, h5py
with h5py.File(sys.argv[1], "r") as f:
    assert f["a/b/c"].dtype == "<f4" and f["a"]["b"]["c"][...].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert f["a/b/c"].chunks is None and f["s"].shape == () and f["s"][()] == 2.5
    a = dict(f.attrs)
    assert a["text"] == "日本" and a["long"] == "y" * 3000000 and a["none"] == "" and a["n"] == 7 and a["x"] == 0.5, a.keys()
    assert a["format"] == "tradewind" and a["format_version"] == 1
)");
  BOOST_TEST(std::system((python + " " + script.string() + " " + (folder.path() / "model.h5").string()).c_str()) == 0);
}

BOOST_AUTO_TEST_CASE(an_existing_file_is_replaced_only_when_asked) {
  const TemporaryFolder folder;
  const fs::path path = folder.write("model.h5", "precious");
  check_throws<CheckpointError>([&] { export_hdf5(path, model(), nullptr, false); }, {"model.h5", "exists", "--overwrite"});
  BOOST_TEST(contents(path) == "precious");
  fs::create_symlink("model.h5", folder.path() / "link.h5");
  check_throws<CheckpointError>([&] { export_hdf5(folder.path() / "link.h5", model(), nullptr, false); },
                                {"link.h5", "exists"});
  export_hdf5(folder.path() / "link.h5", model(), nullptr, true);
  BOOST_TEST(fs::is_symlink(folder.path() / "link.h5"));
  check_model(path, model());
  export_hdf5(path, {{"w", tensor({2}, 8)}}, nullptr, true);
  check_model(path, {{"w", tensor({2}, 8)}});
  BOOST_TEST(names_in(folder.path()) == (Names{"link.h5", "model.h5"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_place_that_cannot_be_written_is_named_with_the_remedy) {
  const TemporaryFolder folder;
  const auto to = [&](const fs::path& path) { return [path] { export_hdf5(path, model(), nullptr, true); }; };
  check_throws<CheckpointError>(to(folder.path() / "absent" / "model.h5"), {"absent/model.h5", "create the directory"});
  check_throws<CheckpointError>(to(folder.write("file", "") / "model.h5"), {"file/model.h5", "not a directory"});
  check_throws<CheckpointError>(to(folder.path()), {folder.path().string(), "is a directory"});
  check_throws<CheckpointError>(to("/dev/null"), {"/dev/null", "not a regular file"});
  check_throws<CheckpointError>(to(folder.path() / std::string(250, 'n')), {"shorter file name"});
  BOOST_TEST(names_in(folder.path()) == Names{"file"}, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_directory_without_permission_is_named_with_the_remedy) {
  const TemporaryFolder folder;
  chmod(folder.path().c_str(), 0555);
  const uid_t user = geteuid();
  if (user == 0 && seteuid(65534) != 0) {  // root may write anywhere
    std::cout << "SKIPPED a_directory_without_permission_is_named_with_the_remedy: root cannot become nobody here" << std::endl;
    return;
  }
  check_throws<CheckpointError>([&] { export_hdf5(folder.path() / "model.h5", model(), nullptr, false); },
                                {"model.h5", "Permission denied", "in which you may write"});
  BOOST_REQUIRE(seteuid(user) == 0);
  chmod(folder.path().c_str(), 0755);
  BOOST_TEST(names_in(folder.path()).empty());
}

BOOST_AUTO_TEST_CASE(a_full_disk_keeps_the_old_file_wherever_it_strikes) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.h5";
  const std::vector<ExportTensor> tensors = {
      {"a.large", tensor({300, 200}, 1)}, {"b", tensor({7}, 2)}, {"c.d", tensor({999}, 3)}};
  const json attributes = {{"tokenizer", std::string(200'000, 't')}, {"config", "x = 1"}};
  export_hdf5(path, tensors, attributes, false);
  const auto whole = fs::file_size(path);
  const std::string before = contents(path);
  std::vector<std::uintmax_t> limits = {0, 1, 95, 96, 97, 800, 2048, 4096, whole - 1, whole - 512, whole - 4096};
  for (std::uintmax_t limit = 8192; limit < whole; limit += whole / 23) limits.push_back(limit);
  for (const auto limit : limits) {
    BOOST_TEST_CONTEXT("limit " << limit << " of " << whole) {
      {
        const FileSizeLimit full(limit);
        check_throws<CheckpointError>([&] { export_hdf5(path, tensors, attributes, true); },
                                      {"model.h5", "File too large", "bytes", "free", "export to another disk"});
      }
      BOOST_TEST(names_in(folder.path()) == Names{"model.h5"}, boost::test_tools::per_element());
      BOOST_TEST((contents(path) == before));
    }
  }
  export_hdf5(path, tensors, attributes, true);  // the library is as it was
  BOOST_TEST((contents(path) == before));
}

BOOST_AUTO_TEST_CASE(names_that_cannot_be_groups_are_refused) {
  const TemporaryFolder folder;
  const fs::path path = folder.path() / "model.h5";
  const auto named = [&](const std::vector<std::string>& names) {
    return [&path, names] {
      std::vector<ExportTensor> tensors;
      for (const auto& name : names) tensors.push_back({name, tensor({2}, 1)});
      export_hdf5(path, tensors, nullptr, false);
    };
  };
  for (const char* name : {"", ".", "a..b", ".a", "a."}) check_throws<CheckpointError>(named({name}), {name, "empty"});
  check_throws<CheckpointError>(named({"a/b"}), {"a/b", "holds /"});
  check_throws<CheckpointError>(named({"a\xff"}), {"not UTF-8"});
  check_throws<CheckpointError>(named({"a", "a"}), {"\"a\"", "another tensor"});
  check_throws<CheckpointError>(named({"a.b", "a"}), {"\"a\"", "a module has its name"});
  check_throws<CheckpointError>(named({"a", "a.b"}), {"\"a.b\"", "a tensor's name"});
  BOOST_TEST(names_in(folder.path()).empty());
}

BOOST_AUTO_TEST_CASE(attributes_and_tensors_that_cannot_be_stored_are_refused) {
  const TemporaryFolder folder;
  const auto with = [&](const json& attributes) {
    return [&folder, attributes] { export_hdf5(folder.path() / "model.h5", model(), attributes, false); };
  };
  check_throws<CheckpointError>(with({{"config", std::string("a\0b", 3)}}), {"\"config\"", "zero byte"});
  check_throws<CheckpointError>(with({{"config", "\xc3"}}), {"\"config\"", "not UTF-8"});
  check_throws<CheckpointError>(with({{"list", {"\xc3"}}}), {"\"list\"", "not UTF-8"});
  check_throws<CheckpointError>(with({{"", 1}}), {"its name is empty"});
  check_throws<InternalError>(with({{"format", "other"}}), {"format"});
  check_throws<InternalError>(with(3), {"not an object"});
  const Tensor ids(host_allocator(), {2}, DType::kUInt8);
  const auto of = [&](const Tensor& data) {
    return [&folder, data] { export_hdf5(folder.path() / "model.h5", {{"ids", data}}, nullptr, false); };
  };
  check_throws<InternalError>(of(ids), {"ids", "uint8"});
  check_throws<InternalError>(of(Tensor()), {"ids", "host"});
  BOOST_TEST(names_in(folder.path()).empty());
}

BOOST_AUTO_TEST_CASE(errors_that_hdf5_prints_are_printed_again_afterwards) {
  const TemporaryFolder folder;
  H5E_auto2_t before = nullptr, after = nullptr;
  void* data = nullptr;
  H5Eget_auto2(H5E_DEFAULT, &before, &data);
  BOOST_REQUIRE(before != nullptr);
  export_hdf5(folder.path() / "model.h5", model(), nullptr, false);
  H5Eget_auto2(H5E_DEFAULT, &after, &data);
  BOOST_TEST((after == before));
}
