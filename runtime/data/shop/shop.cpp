// The crowds live some days side by side; then the hours of these days are sorted, numbered and put into rows side by side, and
// the rows written in order. Nothing depends on which thread did what, and no more is held than these days.
#include "runtime/data/shop/shop.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/parallel.h"
#include "runtime/data/shop/crowd.h"
#include "runtime/data/shop/goods.h"
#include "runtime/data/shop/rows.h"
#include "runtime/data/shop/table.h"
#include "runtime/data/shop/truth.h"

namespace tradewind::runtime {
namespace shop {
namespace {

constexpr std::int64_t kCrowd = 1024;            // customers whose days are one piece of work
constexpr std::int64_t kCustomerDays = 200'000;  // lived between two times of writing, about
constexpr std::int64_t kMostDays = 16;

void write_file(const std::filesystem::path& file, const std::string& text) {
  OutputFile out(file);
  out.write(text);
  out.close();
}

class Shop {
 public:
  Shop(const std::filesystem::path& folder, const ShopOptions& options)
      : folder_(folder),
        options_(options),
        world_(options.seed, options.items),
        rows_(world_, options.users, options.days),
        days_at_once_(std::clamp<std::int64_t>(kCustomerDays / options.users, 1, kMostDays)) {
    const Scale scale{.customers = options.users, .days = options.days, .views = options.views};
    for (std::int64_t first = 0; first < options.users; first += kCrowd)
      crowds_.emplace_back(world_, scale, first, std::min(kCrowd, options.users - first));
    lived_.resize(crowds_.size());
    for (const FileForm& form : timed_files()) {
      files_.push_back(std::make_unique<OutputFile>(folder / form.name));
      files_.back()->write(form.header);
    }
  }

  ShopCounts write() {
    write_items_and_users();
    for (std::int64_t day = 0; day < options_.days; day += days_at_once_)
      write_days(day, std::min(days_at_once_, options_.days - day));
    for (const auto& file : files_) {
      file->close();
      counts_.bytes += file->bytes();
    }
    std::vector<std::int32_t> left;
    for (const Crowd& crowd : crowds_) crowd.append_left(left);
    write_truth(folder_ / "truth", world_, options_.days, left);
    return counts_;
  }

 private:
  struct Hour {
    Records records;
    Numbers from;
    std::array<std::string, kTimedFiles> rows;
  };

  void write_items_and_users() {
    std::string rows = items_header();
    for (std::int64_t item = 0; item < options_.items; ++item) append_item(rows, world_, item);
    write_file(folder_ / "items.csv", rows);
    rows = users_header();
    for (std::int64_t user = 0; user < options_.users; ++user)
      append_user(rows, rows_.customer(user), traits_of(options_.seed, user, options_.days));
    write_file(folder_ / "users.csv", rows);
  }

  void write_days(std::int64_t begin, std::int64_t days) {
    const auto hours = static_cast<std::size_t>(days * kHours);
    kernels::parallel_pieces(std::ssize(crowds_), 1, options_.threads, [&](std::int64_t first, std::int64_t last) {
      for (auto c = static_cast<std::size_t>(first); c < static_cast<std::size_t>(last); ++c) {
        lived_[c].resize(hours);
        for (Records& hour : lived_[c]) hour.clear();
        crowds_[c].live(begin, lived_[c]);
      }
    });
    hours_.resize(hours);
    kernels::parallel_pieces(std::ssize(hours_), 1, options_.threads, [&](std::int64_t first, std::int64_t last) {
      for (auto h = static_cast<std::size_t>(first); h < static_cast<std::size_t>(last); ++h) gather(h);
    });
    for (Hour& hour : hours_) number(hour);
    kernels::parallel_pieces(std::ssize(hours_), 1, options_.threads, [&](std::int64_t first, std::int64_t last) {
      for (auto h = static_cast<std::size_t>(first); h < static_cast<std::size_t>(last); ++h) {
        for (std::string& rows : hours_[h].rows) rows.clear();
        rows_.append(hours_[h].rows, hours_[h].records, hours_[h].from);
      }
    });
    for (const Hour& hour : hours_)
      for (std::size_t f = 0; f < files_.size(); ++f) files_[f]->write(hour.rows[f]);
  }

  /// All that happened in an hour, in order.
  void gather(std::size_t h) {
    Records& all = hours_[h].records;
    all.clear();
    Records::each([&](auto kind) {
      for (const std::vector<Records>& crowd : lived_)
        (all.*kind).insert((all.*kind).end(), (crowd[h].*kind).begin(), (crowd[h].*kind).end());
      // Within a crowd a customer's records of a kind lie in an order that depends on the customer alone.
      std::ranges::stable_sort(all.*kind, {}, [](const auto& record) { return std::tuple(record.time, record.customer); });
    });
  }

  void number(Hour& hour) {
    const Records& records = hour.records;
    hour.from = next_;
    next_.impressions += std::ssize(records.impressions);
    next_.reviews += std::ssize(records.reviews);
    next_.questions += std::ssize(records.questions);
    next_.searches += std::ssize(records.searches);
    counts_.events += std::ssize(records.events);
    counts_.views += std::ranges::count(records.events, EventKind::kView, &Event::kind);
    counts_.impressions += std::ssize(records.impressions);
    counts_.promotions += std::ssize(records.promotions);
    counts_.reviews += std::ssize(records.reviews);
    counts_.questions += std::ssize(records.questions);
    counts_.searches += std::ssize(records.searches);
  }

  std::filesystem::path folder_;
  ShopOptions options_;
  World world_;
  RowWriter rows_;
  std::int64_t days_at_once_;
  std::vector<Crowd> crowds_;
  std::vector<std::vector<Records>> lived_;  // of each crowd, by hour
  std::vector<Hour> hours_;
  std::vector<std::unique_ptr<OutputFile>> files_;
  Numbers next_;
  ShopCounts counts_;
};

}  // namespace
}  // namespace shop

ShopCounts write_demo_shop(const std::filesystem::path& folder, const ShopOptions& options) {
  require(options.users > 0 && options.items >= kLeastItems && options.days > 0 && options.views > 0 && options.threads > 0,
          "write_demo_shop", "options out of range");
  std::error_code error;
  std::filesystem::create_directories(folder / "truth", error);
  if (error) throw DataError("cannot create " + (folder / "truth").string() + ": " + error.message());
  return shop::Shop(folder, options).write();
}

}  // namespace tradewind::runtime
