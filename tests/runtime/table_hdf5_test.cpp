#include "runtime/data/table_hdf5.h"

#include <fmt/format.h>
#include <hdf5.h>

#include <boost/test/unit_test.hpp>

#include "runtime/data/event_log.h"
#include "tests/support/event_tables.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::table_folder;

namespace {

using Strings = std::vector<std::string>;

/// A file being written, a dataset after the other.
class Writer {
 public:
  explicit Writer(const std::string& name) : path_((table_folder().path() / name).string()) {
    file_ = H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(file_ >= 0);
  }
  ~Writer() { close(); }
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  std::string close() {
    if (file_ >= 0) H5Fclose(file_);
    file_ = -1;
    return path_;
  }
  void write(const std::string& name, hid_t type, const void* values, std::vector<hsize_t> shape) const {
    const hid_t space = H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr);
    const hid_t links = H5Pcreate(H5P_LINK_CREATE);
    H5Pset_create_intermediate_group(links, 1);
    const hid_t data = H5Dcreate2(file_, name.c_str(), type, space, links, H5P_DEFAULT, H5P_DEFAULT);
    BOOST_REQUIRE(H5Dwrite(data, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    H5Dclose(data);
    H5Pclose(links);
    H5Sclose(space);
  }
  template <class Value>
  void numbers(const std::string& name, hid_t type, const std::vector<Value>& values) const {
    write(name, type, values.data(), {values.size()});
  }
  void long_texts(const std::string& name, const Strings& values) const {
    std::vector<const char*> pointers;
    for (const std::string& value : values) pointers.push_back(value.c_str());
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    write(name, type, pointers.data(), {values.size()});
    H5Tclose(type);
  }
  void texts(const std::string& name, const Strings& values, std::size_t size, H5T_str_t pad) const {
    std::string bytes;
    for (std::string value : values) {
      value.resize(size, pad == H5T_STR_SPACEPAD ? ' ' : '\0');
      bytes += value;
    }
    const hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_strpad(type, pad);
    write(name, type, bytes.data(), {values.size()});
    H5Tclose(type);
  }

 private:
  std::string path_;
  hid_t file_ = -1;
};

InteractionsConfig config_at(const std::string& path) {
  InteractionsConfig config;
  config.path = path;
  return config;
}

Strings read(const InteractionsConfig& config) {
  ThrowProblems sink;
  const EventLog log = read_events(config, sink);
  Strings out;
  for (std::size_t i = 0; i < log.item.size(); ++i) {
    out.push_back(fmt::format("{} {}", log.users.name(log.user[i]), log.items.name(log.item[i])));
    if (!log.time.empty()) out.back() += fmt::format("@{}", log.time[i]);
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(columns_of_every_type_are_read) {
  Writer writer("x.h5");
  writer.numbers<std::int32_t>("i32", H5T_NATIVE_INT32, {-7, 8, 9});
  writer.numbers<std::uint64_t>("u64", H5T_NATIVE_UINT64, {18446744073709551615U, 1, 2});
  writer.numbers<std::int64_t>("big_endian", H5T_NATIVE_INT64, {5, 6, 7});
  writer.numbers<double>("seconds", H5T_NATIVE_DOUBLE, {1732877570.25, 1.5, 1e9});
  writer.long_texts("names", {"a,\"b\"\n", "", "毛巾"});
  writer.texts("terminated", {"ab", "abc", ""}, 4, H5T_STR_NULLTERM);
  writer.texts("padded", {"ab", "abcd", "a\0b"}, 4, H5T_STR_NULLPAD);
  writer.texts("events/spaces", {"ab", "abcd", "a b"}, 4, H5T_STR_SPACEPAD);
  InteractionsConfig config = config_at(writer.close());
  const auto of = [&](const std::string& user, const std::string& item) {
    config.user_key = user;
    config.item_key = item;
    return read(config);
  };
  BOOST_TEST((of("i32", "u64") == Strings{"-7 18446744073709551615", "8 1", "9 2"}));
  BOOST_TEST((of("big_endian", "padded") == Strings{"5 ab", "6 abcd", "7 a"}));
  BOOST_TEST((of("u64", "events/spaces") == Strings{"18446744073709551615 ab", "1 abcd", "2 a b"}));
  config.time_key = "seconds";
  BOOST_TEST((of("i32", "padded") == Strings{"-7 ab@1732877570250000", "8 abcd@1500000", "9 a@1000000000000000"}));
  check_throws<DataError>([&] { of("names", "i32"); }, {config.path + ":2: the id of the user is empty"});
  check_throws<DataError>([&] { of("i32", "terminated"); }, {config.path + ":3: the id of the item is empty"});
}

BOOST_AUTO_TEST_CASE(a_file_of_many_chunks_is_read_whole) {
  std::vector<std::int64_t> users, items;
  Strings expected;
  for (std::int64_t i = 0; i < 150'000; ++i) {
    users.push_back(i * 7919 % 1000);
    items.push_back(i);
    expected.push_back(fmt::format("{} {}", users.back(), i));
  }
  Writer writer("many.hdf5");
  writer.numbers("user", H5T_NATIVE_INT64, users);
  writer.numbers("item", H5T_NATIVE_INT64, items);
  BOOST_TEST((read(config_at(writer.close())) == expected));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_the_file_is_named_with_the_repair) {
  Writer writer("bad.h5");
  writer.numbers<std::int32_t>("user", H5T_NATIVE_INT32, {1, 2, 3});
  writer.numbers<std::int32_t>("items", H5T_NATIVE_INT32, {1, 2, 3});
  writer.numbers<std::int32_t>("two", H5T_NATIVE_INT32, {1, 2});
  writer.numbers<float>("price", H5T_NATIVE_FLOAT, {1, 2, 3});
  const std::vector<std::int32_t> square = {1, 2, 3, 4};
  writer.write("square", H5T_NATIVE_INT32, square.data(), {2, 2});
  writer.numbers<double>("time", H5T_NATIVE_DOUBLE, {1, 2, std::numeric_limits<double>::quiet_NaN()});
  InteractionsConfig config = config_at(writer.close());
  const auto refuse = [&](const std::string& item, Strings parts) {
    config.item_key = item;
    parts[0] = config.path + parts[0];
    check_throws<DataError>([&] { read(config); }, parts);
  };
  refuse("item", {": no dataset \"item\"; did you mean \"items\"?", "data.item_key", "items, price"});
  refuse("two", {": dataset \"two\" has 2 rows, and \"user\" has 3"});
  refuse("price", {": dataset \"price\" has floating-point numbers, which are no ids", "integers or text"});
  refuse("square", {": dataset \"square\" has not one dimension"});
  config.time_key = "time";
  refuse("items", {":3: \"nan\" is not a time"});
  check_throws<DataError>([] { read(config_at("/nowhere/x.h5")); }, {"/nowhere/x.h5", "cannot be opened"});
  check_throws<DataError>([] { read(config_at(table_folder().write("text.h5", "user,item\n").string())); },
                          {"text.h5: it is no HDF5, or damaged"});
}
