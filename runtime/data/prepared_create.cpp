#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>

#include "kernels/base/error.h"
#include "runtime/checkpoint/files.h"
#include "runtime/checkpoint/hdf5_driver.h"
#include "runtime/data/file_error.h"
#include "runtime/data/prepared_file.h"
#include "runtime/data/write_at.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using detail::Handle;

/// A new file, written through the file driver of hdf5_driver.h: a full disk does not confuse the library, and no locks.
class NewFile {
 public:
  NewFile(const fs::path& path, int descriptor)
      : path_(path),
        driver_(id(H5FDregister(&class_), "registering the file driver"), H5FDunregister),
        access_(id(H5Pcreate(H5P_FILE_ACCESS), "file access properties"), H5Pclose),
        creation_(id(H5Pcreate(H5P_FILE_CREATE), "file creation properties"), H5Pclose),
        text_(id(H5Tcopy(H5T_C_S1), "text type"), H5Tclose),
        file_(create(descriptor), H5Fclose) {}

  void write_attribute(const std::string& key, const std::string& value) const {
    const std::string what = "writing the attribute " + key;
    const Handle scalar(id(H5Screate(H5S_SCALAR), what), H5Sclose);
    const Handle attribute(id(H5Acreate2(file_.id(), key.c_str(), text_.id(), scalar.id(), H5P_DEFAULT, H5P_DEFAULT), what),
                           H5Aclose);
    const char* text = value.c_str();
    ok(H5Awrite(attribute.id(), text_.id(), &text), what);
  }

  void create_array(PreparedArray& array) const {
    const std::string what = "creating the data set " + array.name;
    const Handle groups(id(H5Pcreate(H5P_LINK_CREATE), what), H5Pclose);
    ok(H5Pset_create_intermediate_group(groups.id(), 1), what);
    const Handle layout(id(H5Pcreate(H5P_DATASET_CREATE), what), H5Pclose);
    ok(H5Pset_layout(layout.id(), H5D_CONTIGUOUS), what);
    ok(H5Pset_alloc_time(layout.id(), H5D_ALLOC_TIME_EARLY), what);
    ok(H5Pset_fill_time(layout.id(), H5D_FILL_TIME_NEVER), what);
    ok(H5Pset_obj_track_times(layout.id(), false), what);
    const auto extent = static_cast<hsize_t>(array.count);
    const Handle space(id(H5Screate_simple(1, &extent, nullptr), what), H5Sclose);
    const Handle data(id(H5Dcreate2(file_.id(), array.name.c_str(), type_of(array.bytes_each), space.id(), groups.id(),
                                    layout.id(), H5P_DEFAULT),
                         what),
                      H5Dclose);
    const haddr_t offset = H5Dget_offset(data.id());
    if (offset == HADDR_UNDEF) fail(what);
    array.offset = offset;
  }

  void close() {
    ok(file_.close(), "closing the file");
    if (failure_ != 0) throw file_error("writing", path_, failure_);
  }

 private:
  static hid_t type_of(int bytes_each) {
    switch (bytes_each) {
      case 1: return H5T_STD_U8LE;
      case 2: return H5T_STD_U16LE;
      case 4: return H5T_STD_I32LE;
      default: return H5T_STD_I64LE;
    }
  }
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(fmt::format("{}: {} failed: {}", path_.string(), what, detail::hdf5_message()));
  }
  hid_t id(hid_t value, const std::string& what) const {
    if (value < 0) fail(what);
    return value;
  }
  void ok(herr_t status, const std::string& what) const {
    if (status < 0) fail(what);
  }
  hid_t create(int descriptor) {
    const detail::ExportDriverInfo info{descriptor, &failure_};
    ok(H5Pset_driver(access_.id(), driver_.id(), &info), "setting the file driver");
    ok(H5Pset_alignment(access_.id(), 1, 8), "asking for alignment");  // so that a mapped array can be read in place
    ok(H5Pset_userblock(creation_.id(), kUserBlock), "asking for a user block");
    ok(H5Tset_size(text_.id(), H5T_VARIABLE), "setting the text type");
    ok(H5Tset_cset(text_.id(), H5T_CSET_UTF8), "setting the text type");
    return id(H5Fcreate(path_.c_str(), H5F_ACC_TRUNC, creation_.id(), access_.id()), "creating the file");
  }

  const detail::QuietErrors quiet_;
  fs::path path_;
  int failure_ = 0;
  const H5FD_class_t class_ = detail::export_driver();
  Handle driver_, access_, creation_, text_, file_;
};

PreparedArray array_of(const std::string& name, const std::string& text) {
  return {.name = name,
          .bytes_each = 1,
          .count = static_cast<std::int64_t>(text.size()),
          .checksum = XXH3_64bits(text.data(), text.size())};
}

std::string user_block(const std::vector<PreparedArray>& arrays, std::uint64_t bytes, std::uint64_t rest) {
  nlohmann::json all = nlohmann::json::array();
  for (const PreparedArray& a : arrays)
    all.push_back(
        {{"name", a.name}, {"bytes_each", a.bytes_each}, {"count", a.count}, {"checksum", a.checksum}, {"offset", a.offset}});
  const std::string json = nlohmann::json({{"arrays", all}, {"bytes", bytes}, {"rest", rest}}).dump();
  std::string block = fmt::format("{} {} {} {}\n", kPreparedFormat, kPreparedVersion, checksum_of(json), json);
  require(block.size() <= kUserBlock, "create_prepared", "the user block is too small");
  block.resize(kUserBlock, '\0');
  return block;
}

void write(int descriptor, const fs::path& path, std::uint64_t offset, std::string_view bytes) {
  if (!write_at(descriptor, offset, bytes.data(), bytes.size())) throw file_error("writing", path, errno);
}

}  // namespace

void create_prepared(const fs::path& path, const nlohmann::json& tokenizer, const nlohmann::json& description,
                     std::vector<PreparedArray>& arrays) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) throw file_error("creating", path, errno);
  const std::unique_ptr<const int, void (*)(const int*)> closer(&descriptor, [](const int* d) { ::close(*d); });
  std::vector<std::string> texts;
  std::vector<PreparedArray> all;
  const auto add = [&](const char* name, const nlohmann::json& j) {
    all.push_back(array_of(name, texts.emplace_back(j.dump())));
  };
  if (!tokenizer.is_null()) add("/tokenizer", tokenizer);
  add("/description", description);
  all.insert(all.end(), arrays.begin(), arrays.end());
  NewFile out(path, descriptor);
  out.write_attribute("format", kPreparedFormat);
  out.write_attribute("format_version", std::to_string(kPreparedVersion));
  out.write_attribute("summary", description.at("summary"));
  for (PreparedArray& array : all) out.create_array(array);
  out.close();
  for (std::size_t i = 0; i < texts.size(); ++i) write(descriptor, path, all[i].offset, texts[i]);
  struct stat info {};
  if (fstat(descriptor, &info) != 0) throw file_error("looking at", path, errno);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  write(descriptor, path, 0, user_block(all, bytes, checksum_of_rest(descriptor, all, bytes)));
  if (::fsync(descriptor) != 0) throw file_error("syncing", path, errno);
  arrays.assign(all.begin() + static_cast<std::ptrdiff_t>(texts.size()), all.end());
}

}  // namespace tradewind::runtime
