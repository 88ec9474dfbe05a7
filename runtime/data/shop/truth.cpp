#include "runtime/data/shop/truth.h"

#include <string>

#include "runtime/data/shop/catalogue.h"
#include "runtime/data/shop/choices.h"
#include "runtime/data/shop/table.h"

namespace tradewind::runtime::shop {
namespace {

void write_table(const std::filesystem::path& file, const std::string& rows) {
  OutputFile out(file);
  out.write(rows);
  out.close();
}

std::string model_table() {
  std::string rows = "name,value\n";
  const auto add = [&](const char* name, double value) { append(rows, "{},{}\n", name, value); };
  add("categories", kCategories);
  add("styles", kStyles);
  add("age_bands", kAgeBands);
  add("browse", kBrowse);
  add("other_style", kOtherStyle);
  add("stay", kStay);
  add("skip", kSkip);
  add("follow", kFollow);
  add("season", kSeason);
  add("year", kYear);
  add("taste_of_age", kTasteOfAge);
  return rows;
}

std::string item_table(const World& world) {
  std::string rows = "item,category,style,weight,share,quality\n";
  for (std::size_t i = 0; i < world.items().size(); ++i) {
    const Item& item = world.items()[i];
    append(rows, "{},{},{},{},{},{}\n", csv_field(world.item_id(static_cast<std::int64_t>(i))), item.category, item.style,
           item.weight, item.share, item.quality);
  }
  return rows;
}

std::string need_table(const World& world) {
  std::string rows = "need,stage,category,share,peak_day\n";
  for (std::size_t n = 0; n < world.needs().size(); ++n)
    for (int stage = 0; stage < kStages; ++stage) {
      const Need& need = world.needs()[n];
      append(rows, "{},{},{},{},{}\n", n, stage, need.stages[static_cast<std::size_t>(stage)], need.share, need.peak_day);
    }
  return rows;
}

std::string successor_table(const World& world) {
  std::string rows = "need,successor,share\n";
  for (std::size_t n = 0; n < world.needs().size(); ++n)
    for (std::size_t i = 0; i < kSuccessorShares.size(); ++i)
      append(rows, "{},{},{}\n", n, world.needs()[n].successors[i], kSuccessorShares[i]);
  return rows;
}

std::string user_table(const World& world, std::int64_t days, const std::vector<std::int32_t>& left) {
  std::string rows = "user,taste,price_sensitivity,activity,churn_logit,left_on\n";
  for (std::size_t user = 0; user < left.size(); ++user) {
    const Traits traits = traits_of(world.seed(), static_cast<std::int64_t>(user), days);
    append(rows, "{},{},{},{},{},{}\n", customer_number(world.seed(), static_cast<std::int64_t>(user)), traits.taste,
           traits.sensitivity, traits.activity, traits.churn_logit, left[user] < 0 ? "" : date_text(left[user]));
  }
  return rows;
}

}  // namespace

void write_truth(const std::filesystem::path& folder, const World& world, std::int64_t days,
                 const std::vector<std::int32_t>& left) {
  write_table(folder / "model.csv", model_table());
  write_table(folder / "items.csv", item_table(world));
  write_table(folder / "needs.csv", need_table(world));
  write_table(folder / "successors.csv", successor_table(world));
  write_table(folder / "users.csv", user_table(world, days, left));
}

}  // namespace tradewind::runtime::shop
