#include "runtime/data/table_hdf5.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <boost/test/unit_test.hpp>
#include <iostream>

#include "runtime/data/event_log.h"
#include "tests/support/event_tables.h"
#include "tests/support/hdf5_table.h"
#include "tests/support/throws.h"

using namespace tradewind;
using namespace tradewind::runtime;
using tests::check_throws;
using tests::Hdf5Table;
using tests::table_folder;

namespace {

using Strings = std::vector<std::string>;

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
  Hdf5Table writer("x.h5");
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
  Hdf5Table writer("many.hdf5");
  writer.numbers("user", H5T_NATIVE_INT64, users);
  writer.numbers("item", H5T_NATIVE_INT64, items);
  BOOST_TEST((read(config_at(writer.close())) == expected));
}

BOOST_AUTO_TEST_CASE(what_is_wrong_with_the_file_is_named_with_the_repair) {
  Hdf5Table writer("bad.h5");
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

// 9.95 as float32 is 9.949999809265137 in float64, which nobody has written.
BOOST_AUTO_TEST_CASE(numbers_of_32_bits_are_those_that_were_written) {
  Hdf5Table writer("ratings.h5");
  writer.numbers<std::int32_t>("user", H5T_NATIVE_INT32, {1, 1});
  writer.numbers<std::int32_t>("item", H5T_NATIVE_INT32, {1, 2});
  writer.numbers<float>("stars", H5T_NATIVE_FLOAT, {4.1F, 4.0F});
  InteractionsConfig config = config_at(writer.close());
  config.rating_key = "stars";
  config.min_rating = 4.1;
  ThrowProblems sink;
  BOOST_TEST(read_events(config, sink).counted == 1);
}

BOOST_AUTO_TEST_CASE(chunks_that_are_larger_than_what_is_read_at_once_are_read_whole) {
  constexpr std::size_t kRows = 300'000;
  std::vector<std::int64_t> users(kRows);
  Strings items(kRows);
  std::vector<const char*> pointers(kRows);
  for (std::size_t i = 0; i < kRows; ++i) {
    users[i] = static_cast<std::int64_t>(i * 7919 % 1000);
    items[i] = fmt::format("item-{}", i % 70'001);
    pointers[i] = items[i].c_str();
  }
  Hdf5Table writer("chunks.h5");
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, H5T_VARIABLE);
  writer.write("user", H5T_NATIVE_INT64, users.data(), {kRows}, 250'000);
  writer.write("item", text, pointers.data(), {kRows}, 200'000);
  H5Tclose(text);
  const Strings got = read(config_at(writer.close()));
  BOOST_REQUIRE(got.size() == kRows);
  for (std::size_t i = 0; i < kRows; ++i) BOOST_REQUIRE(got[i] == fmt::format("{} {}", users[i], items[i]));
}

// 65,536 rows of a text of a million bytes are more than there is.
BOOST_AUTO_TEST_CASE(texts_of_a_million_bytes_are_few_at_once) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::cout << "SKIPPED runtime/table_hdf5_test: a sanitizer takes memory of its own\n";
#else
  constexpr hsize_t kRows = 70'000;
  Hdf5Table writer("wide.h5");
  const std::vector<std::int32_t> users(kRows, 7);
  const hid_t text = H5Tcopy(H5T_C_S1);
  H5Tset_size(text, 1'000'000);
  writer.numbers("user", H5T_NATIVE_INT32, users);
  writer.write("item", text, nullptr, {kRows});
  H5Tclose(text);
  const InteractionsConfig config = config_at(writer.close());
  struct rlimit before {};
  getrlimit(RLIMIT_DATA, &before);
  const struct rlimit limit = {.rlim_cur = rlim_t{1} << 30, .rlim_max = before.rlim_max};
  BOOST_REQUIRE(setrlimit(RLIMIT_DATA, &limit) == 0);
  check_throws<DataError>([&] { read(config); }, {"wide.h5:1: the id of the item is empty"});
  setrlimit(RLIMIT_DATA, &before);
#endif
}
