#include "runtime/checkpoint/hdf5_export.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>

#include "kernels/base/error.h"
#include "runtime/checkpoint/hdf5_driver.h"
#include "runtime/text/utf8.h"

namespace tradewind::runtime {
namespace {

namespace fs = std::filesystem;
using detail::Handle;

/// Bytes that a user may still write to the disk of `directory`.
std::uint64_t free_bytes(const fs::path& directory) {
  struct statvfs space;
  return statvfs(directory.c_str(), &space) == 0 ? std::uint64_t{space.f_bavail} * space.f_frsize : 0;
}

std::string remedy_for(int error, const fs::path& directory, std::uint64_t needed, std::uint64_t free) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return fmt::format(
          "the export needs {} bytes, the disk had {} free (a quota or a file size limit may allow less); free some "
          "space or export to another disk",
          needed, free);
    case EACCES:
    case EPERM:
    case EROFS:
      return fmt::format("export to a directory in which you may write, or change the rights of {}", directory.string());
    case ENOENT: return fmt::format("create the directory {} first", directory.string());
    case ENOTDIR: return fmt::format("{} is not a directory; export to one", directory.string());
    case ENAMETOOLONG: return "choose a shorter file name";
    default: return fmt::format("check the disk that holds {} and export again", directory.string());
  }
}

/// Where the export goes: the target, its directory and the temporary file, which goes away unless it was renamed.
class Target {
 public:
  Target(const fs::path& to, bool overwrite, std::uint64_t bytes) : shown_(to.string()), overwrite_(overwrite), bytes_(bytes) {
    std::error_code error;
    path_ = fs::is_symlink(to, error) ? fs::weakly_canonical(to, error) : fs::absolute(to, error);
    if (error || !path_.has_filename()) fail("the target must be the name of a file; export to a path such as model.h5");
    const auto present = fs::symlink_status(path_, error);
    if (fs::is_directory(present)) fail("the target is a directory; export to a file in it");
    if (fs::exists(present) && !fs::is_regular_file(present) && !fs::is_symlink(present)) {
      fail("the target is not a regular file; export to another name");
    }
    if (fs::exists(present) && !overwrite_) refuse();
    free_ = free_bytes(path_.parent_path());
    create();
  }
  ~Target() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) ::unlink(temporary_.c_str());
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;

  int descriptor() const { return descriptor_; }
  const fs::path& temporary() const { return temporary_; }

  [[noreturn]] void fail(const std::string& what) const {
    throw CheckpointError(fmt::format("exporting {}: {}", shown_, what));
  }
  [[noreturn]] void fail_errno(const std::string& what, int error) const {
    fail(fmt::format("{}: {}; {}", what, std::strerror(error), remedy_for(error, path_.parent_path(), bytes_, free_)));
  }
  [[noreturn]] void fail_hdf5(const std::string& what) const { fail(fmt::format("{}: {}", what, detail::hdf5_message())); }

  void sync() const {
    if (fsync(descriptor_) != 0) fail_errno("syncing the file", errno);
  }

  /// Renames the temporary file. Without `overwrite`, a target that came up meanwhile is kept.
  void commit() {
    int error = 0;
    if (overwrite_) {
      if (::rename(temporary_.c_str(), path_.c_str()) != 0) error = errno;
    } else if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) != 0) {
      error = errno;
      if (error == EINVAL || error == ENOSYS) {  // a file system without RENAME_NOREPLACE; a link does not replace either
        error = ::link(temporary_.c_str(), path_.c_str()) == 0 ? 0 : errno;
        if (error == 0) ::unlink(temporary_.c_str());
      }
    }
    if (error == EEXIST) refuse();
    if (error != 0) fail_errno("renaming the temporary file", error);
    renamed_ = true;
    const int directory = ::open(path_.parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) fail_errno("the file is complete and in place, but opening its directory to sync it failed", errno);
    const int synced = fsync(directory) == 0 ? 0 : errno;
    ::close(directory);
    if (synced != 0 && synced != EINVAL) {  // EINVAL: a file system that does not sync directories
      fail_errno("the file is complete and in place, but syncing its directory failed", synced);
    }
  }

 private:
  [[noreturn]] void refuse() const { fail("the file exists; add --overwrite to replace it, or export to another name"); }

  void create() {
    for (int attempt = 0;; ++attempt) {
      const std::string name = fmt::format(".{}.tmp-{}-{}", path_.filename().string(), getpid(), attempt);
      const fs::path candidate = path_.parent_path() / name;
      descriptor_ = ::open(candidate.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ >= 0) {
        temporary_ = candidate;
        return;
      }
      if (errno != EEXIST || attempt == 100) fail_errno("creating a temporary file beside it", errno);
    }
  }

  std::string shown_;
  bool overwrite_;
  std::uint64_t bytes_, free_ = 0;  // needed, and there before the export
  fs::path path_, temporary_;
  int descriptor_ = -1;
  bool renamed_ = false;
};

bool is_exported(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kBFloat16 || dtype == DType::kInt32 || dtype == DType::kInt64;
}

/// Validates and gives "blocks.0.weight" -> "blocks/0/weight", one for each tensor.
std::vector<std::string> dataset_paths(const std::vector<ExportTensor>& tensors) {
  const auto fail = [](const std::string& name, const char* what) {
    throw CheckpointError(fmt::format("exporting the tensor \"{}\": {}; rename it in the model", name, what));
  };
  std::map<std::string, bool> is_group;  // every path used so far
  std::vector<std::string> paths;
  for (const auto& [name, data] : tensors) {
    require(data.defined() && data.device().type == DeviceType::kCpu, "export_hdf5", (name + " is not on the host").c_str());
    require(is_exported(data.dtype()), "export_hdf5",
            (name + " is " + kernels::name_of(data.dtype()) + ", not float32, bfloat16, int32 or int64").c_str());
    if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos)
      fail(name, "its name holds / or a zero byte");
    if (find_invalid_utf8(name) != std::string::npos) fail(name, "its name is not UTF-8");
    if (name.empty() || name.front() == '.' || name.back() == '.' || name.find("..") != std::string::npos) {
      fail(name, "a part of its dotted name is empty");
    }
    std::string path = name;
    std::replace(path.begin(), path.end(), '.', '/');
    for (std::size_t end = path.find('/'); end != std::string::npos; end = path.find('/', end + 1)) {
      if (!is_group.emplace(path.substr(0, end), true).first->second) fail(name, "a module that holds it has a tensor's name");
    }
    const auto [at, fresh] = is_group.emplace(path, false);
    if (!fresh) fail(name, at->second ? "a module has its name" : "another tensor has its name");
    paths.push_back(std::move(path));
  }
  return paths;
}

/// The given attributes and ours, those that become text as strings.
nlohmann::json root_attributes(const nlohmann::json& given) {
  require(given.is_object() || given.is_null(), "export_hdf5", "attributes are not an object");
  nlohmann::json out = {{"format", "tradewind"}, {"format_version", kHdf5FormatVersion}};
  for (const auto& [key, value] : given.items()) {
    require(!out.contains(key), "export_hdf5", "attributes hold \"format\" or \"format_version\", which are written anyway");
    const auto fail = [&key = key](const char* what) {
      throw CheckpointError(fmt::format("exporting the attribute \"{}\": {}; correct the text it was read from", key, what));
    };
    if (key.empty() || key.find('\0') != std::string::npos || find_invalid_utf8(key) != std::string::npos) {
      fail("its name is empty, not UTF-8, or holds a zero byte");
    }
    try {
      out[key] = value.is_string() || (value.is_number()) ? value : nlohmann::json(value.dump());
    } catch (const nlohmann::json::exception&) {  // dump() of a text that is not UTF-8
      fail("it is not UTF-8");
    }
    if (!out[key].is_string()) continue;
    const auto& text = out[key].get_ref<const std::string&>();
    if (find_invalid_utf8(text) != std::string::npos) fail("it is not UTF-8");
    if (text.find('\0') != std::string::npos) fail("it holds a zero byte, at which a text ends in HDF5");
  }
  return out;
}

/// What a tensor's elements are in the file and in memory.
struct ElementType {
  hid_t stored, native;
  std::size_t bytes;
};
ElementType element_of(DType dtype) {
  if (dtype == DType::kInt32) return {H5T_STD_I32LE, H5T_NATIVE_INT32, 4};
  if (dtype == DType::kInt64) return {H5T_STD_I64LE, H5T_NATIVE_INT64, 8};
  return {H5T_IEEE_F32LE, H5T_NATIVE_FLOAT, 4};
}

/// A tensor's elements as they are written: its own memory, or `copy` filled from bfloat16 (the upper half of a float32).
const void* as_written(const Tensor& tensor, std::vector<float>& copy) {
  if (tensor.dtype() != DType::kBFloat16) return tensor.raw();
  const auto* from = static_cast<const std::uint16_t*>(tensor.raw());
  copy.resize(static_cast<std::size_t>(tensor.elements()));
  for (std::size_t i = 0; i < copy.size(); ++i) copy[i] = std::bit_cast<float>(std::uint32_t{from[i]} << 16);
  return copy.data();
}

/// The calls of HDF5 that write and verify, each checked.
class Exporter {
 public:
  explicit Exporter(Target& target)
      : target_(target),
        driver_(id(H5FDregister(&class_), "registering the file driver"), H5FDunregister),
        access_(id(H5Pcreate(H5P_FILE_ACCESS), "file access properties"), H5Pclose),
        link_(id(H5Pcreate(H5P_LINK_CREATE), "link properties"), H5Pclose),
        dataset_(id(H5Pcreate(H5P_DATASET_CREATE), "data set properties"), H5Pclose),
        attribute_(id(H5Pcreate(H5P_ATTRIBUTE_CREATE), "attribute properties"), H5Pclose),
        text_(id(H5Tcopy(H5T_C_S1), "text type"), H5Tclose),
        scalar_(id(H5Screate(H5S_SCALAR), "scalar space"), H5Sclose) {
    const detail::ExportDriverInfo info{target.descriptor(), &failure_};
    ok(H5Pset_driver(access_.id(), driver_.id(), &info), "setting the file driver");
    H5AC_cache_config_t cache{};
    cache.version = H5AC__CURR_CACHE_CONFIG_VERSION;
    ok(H5Pget_mdc_config(access_.id(), &cache), "reading the cache settings");
    cache.evictions_enabled = false;
    cache.incr_mode = H5C_incr__off, cache.flash_incr_mode = H5C_flash_incr__off, cache.decr_mode = H5C_decr__off;
    ok(H5Pset_mdc_config(access_.id(), &cache), "setting up the cache");
    ok(H5Pset_create_intermediate_group(link_.id(), 1), "asking for groups along the name");
    ok(H5Pset_char_encoding(link_.id(), H5T_CSET_UTF8), "setting the encoding of names");
    ok(H5Pset_char_encoding(attribute_.id(), H5T_CSET_UTF8), "setting the encoding of names");
    ok(H5Pset_layout(dataset_.id(), H5D_CONTIGUOUS), "asking for contiguous data sets");
    ok(H5Pset_fill_time(dataset_.id(), H5D_FILL_TIME_NEVER), "asking for no fill");
    ok(H5Pset_obj_track_times(dataset_.id(), false), "asking for no times");
    ok(H5Tset_size(text_.id(), H5T_VARIABLE), "setting the text type");
    ok(H5Tset_cset(text_.id(), H5T_CSET_UTF8), "setting the text type");
  }

  void write(const std::vector<ExportTensor>& tensors, const std::vector<std::string>& paths,
             const nlohmann::json& attributes) {
    Handle file(id(H5Fcreate(name(), H5F_ACC_TRUNC, H5P_DEFAULT, access_.id()), "creating the file"), H5Fclose);
    for (std::size_t i = 0; i < tensors.size(); ++i) write(file.id(), tensors[i], paths[i]);
    for (const auto& [key, value] : attributes.items()) write(file.id(), key, value);
    ok(file.close(), "closing the file");
    check_written("closing the file");
  }

  void verify(const std::vector<ExportTensor>& tensors, const std::vector<std::string>& paths,
              const nlohmann::json& attributes) {
    Handle file(id(H5Fopen(name(), H5F_ACC_RDONLY, access_.id()), "opening the file again"), H5Fclose);
    for (std::size_t i = 0; i < tensors.size(); ++i) verify(file.id(), tensors[i], paths[i]);
    for (const auto& [key, value] : attributes.items()) {
      if (value.is_string()) verify(file.id(), key, value.get_ref<const std::string&>());
    }
    ok(file.close(), "closing the file");
  }

 private:
  const char* name() const { return target_.temporary().c_str(); }
  hid_t id(hid_t value, const std::string& what) const {
    if (value < 0) target_.fail_hdf5(what);
    return value;
  }
  void ok(herr_t status, const std::string& what) const {
    if (status < 0) target_.fail_hdf5(what);
  }
  void check_written(const std::string& what) const {
    if (failure_ != 0) target_.fail_errno(what, failure_);
  }
  [[noreturn]] void differs(const std::string& what) const {
    target_.fail(what + " reads back otherwise than it was written; check the disk and the memory of this machine");
  }

  void write(hid_t file, const ExportTensor& tensor, const std::string& path) {
    const std::string what = "writing the tensor " + tensor.name + " " + tensor.data.shape().text();
    const auto sizes = tensor.data.shape().sizes();
    const std::vector<hsize_t> extent(sizes.begin(), sizes.end());
    Handle space(
        id(extent.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(extent.size()), extent.data(), nullptr),
           what),
        H5Sclose);
    const ElementType type = element_of(tensor.data.dtype());
    Handle data(id(H5Dcreate2(file, path.c_str(), type.stored, space.id(), link_.id(), dataset_.id(), H5P_DEFAULT), what),
                H5Dclose);
    const void* values = as_written(tensor.data, copy_);
    if (tensor.data.elements() > 0) ok(H5Dwrite(data.id(), type.native, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), what);
    ok(data.close(), what);
    check_written(what);
  }

  void write(hid_t file, const std::string& key, const nlohmann::json& value) {
    const std::string what = "writing the attribute " + key;
    const auto put = [&](hid_t stored, hid_t given, const void* from) {
      Handle attribute(id(H5Acreate2(file, key.c_str(), stored, scalar_.id(), attribute_.id(), H5P_DEFAULT), what), H5Aclose);
      ok(H5Awrite(attribute.id(), given, from), what);
      ok(attribute.close(), what);
    };
    if (value.is_string()) {
      const char* text = value.get_ref<const std::string&>().c_str();
      put(text_.id(), text_.id(), &text);
    } else if (value.is_number_float()) {
      const auto number = value.get<double>();
      put(H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &number);
    } else if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) {
      const auto number = value.get<std::uint64_t>();
      put(H5T_STD_U64LE, H5T_NATIVE_UINT64, &number);
    } else {
      const auto number = value.get<std::int64_t>();
      put(H5T_STD_I64LE, H5T_NATIVE_INT64, &number);
    }
    check_written(what);
  }

  void verify(hid_t file, const ExportTensor& tensor, const std::string& path) {
    const std::string what = "the tensor " + tensor.name;
    Handle data(id(H5Dopen2(file, path.c_str(), H5P_DEFAULT), "opening " + what + " again"), H5Dclose);
    Handle space(id(H5Dget_space(data.id()), "reading the shape of " + what), H5Sclose);
    std::array<hsize_t, H5S_MAX_RANK> extent{};
    const int rank = H5Sget_simple_extent_dims(space.id(), extent.data(), nullptr);
    ok(rank, "reading the shape of " + what);
    const auto sizes = tensor.data.shape().sizes();
    if (!std::equal(sizes.begin(), sizes.end(), extent.begin(), extent.begin() + rank,
                    [](std::int64_t a, hsize_t b) { return static_cast<hsize_t>(a) == b; })) {
      differs(what);
    }
    const auto count = static_cast<std::size_t>(tensor.data.elements());
    if (count == 0) return;
    const ElementType type = element_of(tensor.data.dtype());
    const void* values = as_written(tensor.data, copy_);
    read_.resize(count * type.bytes);
    ok(H5Dread(data.id(), type.native, H5S_ALL, H5S_ALL, H5P_DEFAULT, read_.data()), "reading " + what + " again");
    if (std::memcmp(read_.data(), values, read_.size()) != 0) differs(what);
  }

  void verify(hid_t file, const std::string& key, const std::string& expected) {
    const std::string what = "the attribute " + key;
    Handle attribute(id(H5Aopen(file, key.c_str(), H5P_DEFAULT), "opening " + what + " again"), H5Aclose);
    char* text = nullptr;
    ok(H5Aread(attribute.id(), text_.id(), &text), "reading " + what + " again");
    const bool same = expected == (text == nullptr ? "" : text);
    H5free_memory(text);
    if (!same) differs(what);
  }

  Target& target_;
  int failure_ = 0;
  const H5FD_class_t class_ = detail::export_driver();
  Handle driver_, access_, link_, dataset_, attribute_, text_, scalar_;
  std::vector<float> copy_;
  std::vector<std::byte> read_;
};

}  // namespace

void export_hdf5(const fs::path& to, const std::vector<ExportTensor>& tensors, const nlohmann::json& attributes,
                 bool overwrite) {
  const std::vector<std::string> paths = dataset_paths(tensors);
  const nlohmann::json root = root_attributes(attributes);
  std::uint64_t bytes = 0;
  for (const auto& tensor : tensors)
    bytes += static_cast<std::uint64_t>(tensor.data.elements()) * element_of(tensor.data.dtype()).bytes;
  for (const auto& [key, value] : root.items()) bytes += value.is_string() ? value.get_ref<const std::string&>().size() : 0;
  const detail::QuietErrors quiet;
  Target target(to, overwrite, bytes);
  {
    Exporter exporter(target);
    exporter.write(tensors, paths, root);
    target.sync();
    exporter.verify(tensors, paths, root);
  }
  target.commit();
}

}  // namespace tradewind::runtime
