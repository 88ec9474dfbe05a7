#include "runtime/checkpoint/hdf5_driver.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>

namespace tradewind::runtime::detail {
namespace {

/// HDF5's view of the descriptor. `base` comes first: HDF5 casts.
struct ExportFile {
  H5FD_t base;
  ExportDriverInfo info;
  haddr_t end_of_addresses;
  haddr_t end_of_file;
};

ExportFile& self(H5FD_t* file) { return *reinterpret_cast<ExportFile*>(file); }
const ExportFile& self(const H5FD_t* file) { return *reinterpret_cast<const ExportFile*>(file); }

H5FD_t* driver_open(const char*, unsigned, hid_t access, haddr_t) {
  const auto* info = static_cast<const ExportDriverInfo*>(H5Pget_driver_info(access));
  struct stat status;
  if (info == nullptr || fstat(info->descriptor, &status) != 0) return nullptr;
  auto* file = new (std::nothrow) ExportFile{};
  if (file == nullptr) return nullptr;
  file->info = *info;
  file->end_of_file = static_cast<haddr_t>(status.st_size);
  return &file->base;
}

herr_t driver_close(H5FD_t* file) {
  delete &self(file);
  return 0;
}

herr_t driver_query(const H5FD_t*, unsigned long* flags) {
  *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_ACCUMULATE_METADATA | H5FD_FEAT_DATA_SIEVE | H5FD_FEAT_AGGREGATE_SMALLDATA |
           H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  return 0;
}

haddr_t driver_get_eoa(const H5FD_t* file, H5FD_mem_t) { return self(file).end_of_addresses; }
haddr_t driver_get_eof(const H5FD_t* file, H5FD_mem_t) { return self(file).end_of_file; }
herr_t driver_set_eoa(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  self(file).end_of_addresses = address;
  return 0;
}

herr_t driver_read(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t bytes, void* buffer) {
  auto* to = static_cast<char*>(buffer);
  while (bytes > 0) {
    const ssize_t got = pread(self(file).info.descriptor, to, bytes, static_cast<off_t>(address));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) {  // past the end of the file HDF5 expects zeros
      std::memset(to, 0, bytes);
      return 0;
    }
    to += got, address += static_cast<haddr_t>(got), bytes -= static_cast<std::size_t>(got);
  }
  return 0;
}

herr_t driver_write(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t bytes, const void* buffer) {
  ExportFile& out = self(file);
  out.end_of_file = std::max(out.end_of_file, address + bytes);
  const auto* from = static_cast<const char*>(buffer);
  while (bytes > 0 && *out.info.failure == 0) {
    const ssize_t put = pwrite(out.info.descriptor, from, bytes, static_cast<off_t>(address));
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) {
      *out.info.failure = put < 0 ? errno : EIO;
      return 0;
    }
    from += put, address += static_cast<haddr_t>(put), bytes -= static_cast<std::size_t>(put);
  }
  return 0;
}

herr_t driver_truncate(H5FD_t* file, hid_t, hbool_t) {
  ExportFile& out = self(file);
  if (out.end_of_file == out.end_of_addresses) return 0;
  out.end_of_file = out.end_of_addresses;
  if (*out.info.failure == 0 && ftruncate(out.info.descriptor, static_cast<off_t>(out.end_of_addresses)) != 0) {
    *out.info.failure = errno;
  }
  return 0;
}

}  // namespace

// Callbacks not named here are optional.
H5FD_class_t export_driver() {
  H5FD_class_t driver{};
  driver.name = "tradewind_export";
  driver.maxaddr = (haddr_t{1} << 62) - 1;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(ExportDriverInfo);
  driver.open = driver_open;
  driver.close = driver_close;
  driver.query = driver_query;
  driver.get_eoa = driver_get_eoa;
  driver.set_eoa = driver_set_eoa;
  driver.get_eof = driver_get_eof;
  driver.read = driver_read;
  driver.write = driver_write;
  driver.truncate = driver_truncate;
  const H5FD_mem_t lists[] = H5FD_FLMAP_DICHOTOMY;
  std::copy(std::begin(lists), std::end(lists), driver.fl_map);
  return driver;
}

std::string hdf5_message() {
  std::string text;
  const auto append = [](unsigned n, const H5E_error2_t* error, void* out) -> herr_t {
    auto& to = *static_cast<std::string*>(out);
    if (n == 0) to += error->func_name;
    to += std::string(": ") + error->desc;
    return 0;
  };
  if (H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, append, &text) < 0 || text.empty()) return "HDF5 gives no reason";
  return text;
}

}  // namespace tradewind::runtime::detail
