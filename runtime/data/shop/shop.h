// A made-up shop whose truth is known: what a shop exports, and beside it what made it so.
//
// The export, in order of time where it has one:
//   items.csv         item, titles and descriptions in English and Chinese, department, category, brand, style, material,
//   colour, price users.csv         user, joined_on, country, language, age_band, channel, newsletter events.csv        user,
//   item, event (view, cart, buy, rate, return), time, session, price, rating. Nobody views an item twice, and
//                     the view comes first: the first events of each pair of user and item are the views
//   impressions.csv   slates of the first page, and what was clicked there (a click opens a preview, which is no view)
//   promotions.csv    a row for each user and month: a discount that was sent or held back at random, what was bought in 14
//   days reviews.jsonl, questions.jsonl (with intent and answer), searches.jsonl (what was clicked is viewed next)
// The truth, in truth/: model.csv, items.csv, needs.csv, successors.csv and users.csv say how views come about (world.h); with
// a row for each row of the export impressions.csv (probability of the click), promotions.csv (what would have been bought with
// and without), reviews.csv (tones), searches.csv (what was meant). All is a function of the options, whatever the threads.
#pragma once

#include <cstdint>
#include <filesystem>

namespace tradewind::runtime {

struct ShopOptions {
  std::int64_t users = 6000;
  std::int64_t items = 1000;  // at least kLeastItems
  std::int64_t days = 360;
  double views = 60;  // of a user in all the days, about: some join late, some leave
  std::uint64_t seed = 1;
  int threads = 1;
};

inline constexpr std::int64_t kLeastItems = 250;  // one of each style in each category

/// What was written.
struct ShopCounts {
  std::int64_t events = 0, views = 0, impressions = 0, promotions = 0, reviews = 0, questions = 0, searches = 0;
  std::int64_t bytes = 0;  // of the files that grow with time
};

/// Writes the files into `folder`, which is made where it is not there. Memory: about 250 bytes and up to 8 a view for each
/// user, 200 an item, and what happens in some days (a day, from 200,000 users on). Throws DataError naming a file that cannot
/// be written.
ShopCounts write_demo_shop(const std::filesystem::path& folder, const ShopOptions& options);

}  // namespace tradewind::runtime
