// Records of the demo shop as rows of its files.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/data/shop/records.h"
#include "runtime/data/shop/world.h"

namespace tradewind::runtime::shop {

/// The files that grow as time goes by; those of truth have a row for each row of the file that they are about.
enum TimedFile : std::uint8_t {
  kEvents,
  kImpressions,
  kPromotions,
  kReviews,
  kQuestions,
  kSearches,
  kImpressionTruth,
  kPromotionTruth,
  kReviewTruth,
  kSearchTruth,
  kTimedFiles,
};
struct FileForm {
  const char *name, *header;  // header: with its line break; empty for JSON lines
};
const std::array<FileForm, kTimedFiles>& timed_files();

/// Where the numbers of rows begin.
struct Numbers {
  std::int64_t impressions = 1, reviews = 1, questions = 1, searches = 1;
};

class RowWriter {
 public:
  RowWriter(const World& world, std::int64_t customers, std::int64_t days);

  /// Appends the rows of sorted records, which are numbered from `from`.
  void append(std::array<std::string, kTimedFiles>& rows, const Records& records, const Numbers& from) const;
  const std::string& customer(std::int64_t customer) const { return customer_ids_[static_cast<std::size_t>(customer)]; }

 private:
  void append_event(std::string& row, const Event& event) const;
  void append_impression(std::string& row, std::string& truth, const Impression& impression, std::int64_t number) const;
  void append_promotion(std::string& row, std::string& truth, const Promotion& promotion) const;
  void append_review(std::string& row, std::string& truth, const Review& review, std::int64_t number) const;
  void append_question(std::string& row, const Question& question, std::int64_t number) const;
  void append_search(std::string& row, std::string& truth, const Search& search, std::int64_t number) const;
  bool chinese(std::int32_t customer) const { return languages_[static_cast<std::size_t>(customer)] != 0; }
  std::int32_t taste(std::int32_t customer) const { return tastes_[static_cast<std::size_t>(customer)]; }
  const std::string& item_field(std::int32_t item) const { return item_fields_[static_cast<std::size_t>(item)]; }
  std::string item_json(std::int32_t item) const;

  const World& world_;
  std::vector<std::string> customer_ids_, item_fields_;
  std::vector<std::uint8_t> tastes_, languages_;
};

}  // namespace tradewind::runtime::shop
