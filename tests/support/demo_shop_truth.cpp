// What can be known of a demo shop's last views, from its exported events and the tables of its truth alone.
//
//   demo_shop_truth SHOP       prints one JSON object
//
// The target is each customer's last view (leave-one-out, of those with three or more), the candidates are all items but those
// that the customer has viewed before, and a ranking's worth is its NDCG@10: 1 / log2(r + 1) for the target at rank r <= 10,
// else 0.
//   best        ranks by the probability of being next, given the views before and their dates: the forward recursion of the
//   hidden
//               Markov model that runtime/data/shop/world.h describes (Rabiner, Proc. IEEE 77, 1989, equations 19 to 21). No
//               ranking does better in expectation.
//   first_order the same for one who knows all of the model, but of the history only the last view (and what was seen)
//   markov      by how often an item came next after the last one, in all views but the targets, then by popularity
//   popularity  by views, targets not counted
// "expected" is over the true probabilities, "measured" counts the targets. That the two agree for `best` says that the
// probabilities are right. This shares no code with the generator: it is its check.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <numbers>
#include <numeric>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/data/byte_stream.h"
#include "runtime/data/csv.h"

namespace {

using tradewind::DataError;

/// Calls row(fields) for each row of a file, with the fields of `columns`.
void read_table(const std::string& file, const std::vector<std::string>& columns,
                const std::function<void(const std::vector<std::string>&)>& row) {
  const auto stream = tradewind::runtime::ByteStream::open(file, "SHOP");
  std::string held;
  std::vector<char> piece(1 << 20);
  tradewind::runtime::CsvHeader header;
  std::vector<std::size_t> places;
  std::vector<std::string> fields, wanted(columns.size());
  std::int64_t line = 0;
  for (bool ended = false; !ended;) {
    const std::size_t read = stream->read(piece);
    ended = read < piece.size();
    held.append(piece.data(), read);
    std::size_t at = 0;
    while (at < held.size()) {
      const std::string_view rest = std::string_view(held).substr(at);
      const std::size_t length = tradewind::runtime::csv_record_length(rest, ",", ended);
      if (length == std::string::npos) break;
      ++line;
      if (line == 1) {
        header = tradewind::runtime::CsvHeader(file, rest.substr(0, length), line);
        for (const std::string& column : columns) places.push_back(header.find(column, "SHOP"));
      } else {
        header.parse(rest.substr(0, length), line, fields);
        for (std::size_t c = 0; c < places.size(); ++c) wanted[c] = fields[places[c]];
        row(wanted);
      }
      at += length;
    }
    held.erase(0, at);
  }
}

double number(const std::string& text) {
  double out = std::nan("");
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size()) throw DataError("\"" + text + "\" is not a number");
  return out;
}
int integer(const std::string& text) { return static_cast<int>(number(text)); }

/// Days since the first of January 2025, of "2025-03-01T..".
int day_of(const std::string& time) {
  using namespace std::chrono;
  const auto part = [&](std::size_t at, std::size_t length) { return integer(time.substr(at, length)); };
  const year_month_day date{year(part(0, 4)), month(static_cast<unsigned>(part(5, 2))), day(static_cast<unsigned>(part(8, 2)))};
  return static_cast<int>((sys_days(date) - sys_days(year(2025) / 1 / 1)).count());
}

struct Item {
  int category, style;
  double weight, share;
};
struct Need {
  std::vector<int> stages;
  std::vector<std::pair<int, double>> successors;
  double share = 0, peak_day = 0;
};
struct View {
  int item, day;
};

constexpr std::size_t kLeastViews = 3;  // one to learn from, one to tune on, and the target

struct Shop {
  std::map<std::string, double> model;
  std::vector<Item> items;
  std::vector<Need> needs;
  std::vector<std::vector<View>> views;  // a customer's, in order

  explicit Shop(const std::string& folder) {
    read_table(folder + "/truth/model.csv", {"name", "value"}, [&](auto& row) { model[row[0]] = number(row[1]); });
    std::unordered_map<std::string, int> item_of, user_of;
    read_table(folder + "/truth/items.csv", {"item", "category", "style", "weight", "share"}, [&](auto& row) {
      item_of.emplace(row[0], static_cast<int>(items.size()));
      items.push_back({integer(row[1]), integer(row[2]), number(row[3]), number(row[4])});
    });
    read_table(folder + "/truth/needs.csv", {"need", "stage", "category", "share", "peak_day"}, [&](auto& row) {
      const auto n = static_cast<std::size_t>(integer(row[0]));
      if (needs.size() <= n) needs.resize(n + 1);
      const auto stage = static_cast<std::size_t>(integer(row[1]));
      if (needs[n].stages.size() <= stage) needs[n].stages.resize(stage + 1);
      needs[n].stages[stage] = integer(row[2]);
      needs[n].share = number(row[3]);
      needs[n].peak_day = number(row[4]);
    });
    read_table(folder + "/truth/successors.csv", {"need", "successor", "share"}, [&](auto& row) {
      needs.at(static_cast<std::size_t>(integer(row[0]))).successors.emplace_back(integer(row[1]), number(row[2]));
    });
    read_table(folder + "/events.csv", {"user", "item", "event", "time"}, [&](auto& row) {
      if (row[2] != "view") return;
      const auto user = user_of.emplace(row[0], static_cast<int>(views.size())).first->second;
      if (static_cast<std::size_t>(user) == views.size()) views.emplace_back();
      const auto item = item_of.find(row[1]);
      if (item == item_of.end()) throw DataError("events.csv names an item that truth/items.csv lacks: " + row[1]);
      views[static_cast<std::size_t>(user)].push_back({item->second, day_of(row[3])});
    });
  }
  double constant(const char* name) const { return model.at(name); }
};

/// What one customer has not viewed yet, as sums of weights.
class Unseen {
 public:
  explicit Unseen(const Shop& shop) : shop_(&shop) {
    const auto categories = static_cast<std::size_t>(shop.constant("categories"));
    tastes_ = static_cast<std::size_t>(shop.constant("styles"));
    other_ = shop.constant("other_style");
    sums_.assign(categories * tastes_, 0);
    counts_.assign(categories, 0);
    seen_.assign(shop.items.size(), false);
    for (const Item& item : shop.items) add(item, 1);
  }
  void view(int item) {
    if (seen_[static_cast<std::size_t>(item)]) throw DataError("a customer viewed an item twice");
    seen_[static_cast<std::size_t>(item)] = true;
    add(shop_->items[static_cast<std::size_t>(item)], -1);
  }
  bool seen(std::size_t item) const { return seen_[item]; }
  bool any_of(int category) const { return counts_[static_cast<std::size_t>(category)] > 0; }
  /// Of those unseen of its category, as somebody of `taste` would choose.
  double of_category(const Item& item, std::size_t taste) const {
    return item.weight * factor(item, taste) / sums_[static_cast<std::size_t>(item.category) * tastes_ + taste];
  }
  double of_all(const Item& item) const { return item.share / all_; }
  std::size_t tastes() const { return tastes_; }

 private:
  double factor(const Item& item, std::size_t taste) const {
    return static_cast<std::size_t>(item.style) == taste ? 1 : other_;
  }
  void add(const Item& item, int sign) {
    for (std::size_t taste = 0; taste < tastes_; ++taste)
      sums_[static_cast<std::size_t>(item.category) * tastes_ + taste] += sign * item.weight * factor(item, taste);
    counts_[static_cast<std::size_t>(item.category)] += sign;
    all_ += sign * item.share;
  }

  const Shop* shop_;
  std::size_t tastes_ = 0;
  double other_ = 0, all_ = 0;
  std::vector<double> sums_;
  std::vector<int> counts_;
  std::vector<bool> seen_;
};

/// The belief over (need, stage, taste) as views come in.
class Filter {
 public:
  explicit Filter(const Shop& shop)
      : shop_(shop),
        stages_(shop.needs.front().stages.size()),
        tastes_(static_cast<std::size_t>(shop.constant("styles"))),
        browse_(shop.constant("browse")),
        stay_(shop.constant("stay")),
        skip_(shop.constant("skip")),
        follow_(shop.constant("follow")) {
    season_.resize(static_cast<std::size_t>(shop.constant("year")));
    for (std::size_t day = 0; day < season_.size(); ++day) {
      double all = 0;
      for (const Need& need : shop.needs) {
        const double phase =
            2 * std::numbers::pi * (static_cast<double>(day) - need.peak_day) / static_cast<double>(season_.size());
        season_[day].push_back(need.share * (1 + shop.constant("season") * std::cos(phase)));
        all += season_[day].back();
      }
      for (double& share : season_[day]) share /= all;
    }
  }

  /// Before the first view, which is on `day`.
  void begin(int day) {
    belief_.assign(shop_.needs.size() * stages_ * tastes_, 0);
    for (std::size_t n = 0; n < shop_.needs.size(); ++n)
      for (std::size_t s = 0; s < tastes_; ++s) at(belief_, n, 0, s) = prior(day)[n] / static_cast<double>(tastes_);
  }
  void set(std::vector<double> belief) { belief_ = std::move(belief); }
  const std::vector<double>& belief() const { return belief_; }

  /// Takes in a view of `item` among those that are `unseen` before it. Gives its probability.
  double observe(int item, const Unseen& unseen) {
    const Item& goods = shop_.items[static_cast<std::size_t>(item)];
    const double any = unseen.of_all(goods);
    double all = 0;
    for (std::size_t n = 0; n < shop_.needs.size(); ++n)
      for (std::size_t j = 0; j < stages_; ++j) {
        const int category = shop_.needs[n].stages[j];
        for (std::size_t s = 0; s < tastes_; ++s) {
          double likelihood = unseen.any_of(category) ? browse_ * any : any;
          if (category == goods.category) likelihood += (1 - browse_) * unseen.of_category(goods, s);
          all += at(belief_, n, j, s) *= likelihood;
        }
      }
    for (double& b : belief_) b /= all;
    return all;
  }

  /// From after a view to before the next one, which is on `day`.
  void advance(int day) {
    std::vector<double> next(belief_.size(), 0);
    for (std::size_t s = 0; s < tastes_; ++s) {
      double anew = 0;
      for (std::size_t n = 0; n < shop_.needs.size(); ++n) {
        double done = 0;
        for (std::size_t j = 0; j < stages_; ++j) {
          const double here = at(belief_, n, j, s);
          at(next, n, j, s) += here * stay_;
          (j + 1 < stages_ ? at(next, n, j + 1, s) : done) += here * (1 - stay_) * (1 - skip_);
          (j + 2 < stages_ ? at(next, n, j + 2, s) : done) += here * (1 - stay_) * skip_;
        }
        for (const auto& [successor, share] : shop_.needs[n].successors)
          at(next, static_cast<std::size_t>(successor), 0, s) += done * follow_ * share;
        anew += done * (1 - follow_);
      }
      for (std::size_t n = 0; n < shop_.needs.size(); ++n) at(next, n, 0, s) += anew * prior(day)[n];
    }
    belief_ = std::move(next);
  }

  /// Of each item to be viewed next; 0 of what was seen.
  std::vector<double> next_item(const Unseen& unseen) const {
    const auto categories = static_cast<std::size_t>(shop_.constant("categories"));
    std::vector<double> looks(categories * tastes_, 0);
    double any = 0;
    for (std::size_t n = 0; n < shop_.needs.size(); ++n)
      for (std::size_t j = 0; j < stages_; ++j)
        for (std::size_t s = 0; s < tastes_; ++s) {
          const double b = at(belief_, n, j, s);
          const int category = shop_.needs[n].stages[j];
          any += unseen.any_of(category) ? b * browse_ : b;
          if (unseen.any_of(category)) looks[static_cast<std::size_t>(category) * tastes_ + s] += b * (1 - browse_);
        }
    std::vector<double> out(shop_.items.size(), 0);
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (unseen.seen(i)) continue;
      const Item& item = shop_.items[i];
      out[i] = any * unseen.of_all(item);
      for (std::size_t s = 0; s < tastes_; ++s)
        if (const double look = looks[static_cast<std::size_t>(item.category) * tastes_ + s]; look > 0)
          out[i] += look * unseen.of_category(item, s);
    }
    return out;
  }

 private:
  double& at(std::vector<double>& of, std::size_t n, std::size_t j, std::size_t s) const {
    return of[(n * stages_ + j) * tastes_ + s];
  }
  double at(const std::vector<double>& of, std::size_t n, std::size_t j, std::size_t s) const {
    return of[(n * stages_ + j) * tastes_ + s];
  }
  const std::vector<double>& prior(int day) const { return season_[static_cast<std::size_t>(day) % season_.size()]; }

  const Shop& shop_;
  std::size_t stages_, tastes_;
  double browse_, stay_, skip_, follow_;
  std::vector<std::vector<double>> season_;
  std::vector<double> belief_;
};

/// The ten unseen items with the highest scores, the best first.
template <class Score>
std::vector<std::size_t> top_ten(std::size_t items, const Unseen& unseen, const Score& score) {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < items; ++i)
    if (!unseen.seen(i)) all.push_back(i);
  const auto middle = all.begin() + std::min<std::ptrdiff_t>(10, std::ssize(all));
  std::partial_sort(all.begin(), middle, all.end(), [&](std::size_t a, std::size_t b) {
    const auto of_a = score(a), of_b = score(b);
    return of_a != of_b ? of_a > of_b : a < b;
  });
  all.erase(middle, all.end());
  return all;
}

/// Mean NDCG@10 of one way to rank.
struct Worth {
  double expected = 0, measured = 0, variance = 0;  // of `measured` if the probabilities are true
  std::int64_t targets = 0;

  void add(const std::vector<std::size_t>& ranking, const std::vector<double>& probability, std::size_t target) {
    double mean = 0, square = 0;
    for (std::size_t r = 0; r < ranking.size(); ++r) {
      const double gain = 1 / std::log2(static_cast<double>(r) + 2);
      mean += probability[ranking[r]] * gain;
      square += probability[ranking[r]] * gain * gain;
      if (ranking[r] == target) measured += gain;
    }
    expected += mean;
    variance += square - mean * mean;
    ++targets;
  }
  nlohmann::ordered_json json() const {
    const auto n = static_cast<double>(targets);
    return {{"expected", expected / n}, {"measured", measured / n}, {"standard_error", std::sqrt(variance) / n}};
  }
};

/// How often one item came after another, and each item at all; targets are left out.
struct Counts {
  std::vector<double> views;
  std::vector<std::unordered_map<std::size_t, double>> after;

  explicit Counts(const Shop& shop) : views(shop.items.size(), 0), after(shop.items.size()) {
    for (const std::vector<View>& history : shop.views)
      for (std::size_t t = 0; t + 1 < history.size(); ++t) {
        views[static_cast<std::size_t>(history[t].item)] += 1;
        if (t > 0) after[static_cast<std::size_t>(history[t - 1].item)][static_cast<std::size_t>(history[t].item)] += 1;
      }
  }
  std::pair<double, double> markov(int last, std::size_t item) const {
    const auto& row = after[static_cast<std::size_t>(last)];
    const auto found = row.find(item);
    return {found == row.end() ? 0 : found->second, views[item]};
  }
};

/// A history as its observer goes through it.
class Observer {
 public:
  explicit Observer(const Shop& shop) : nothing_seen_(shop), filter_(shop), unseen_(shop) {}

  /// Takes in all views but the last `left_out`. Gives the belief before the last of these.
  std::vector<double> follow(const std::vector<View>& history, std::size_t left_out) {
    unseen_ = nothing_seen_;
    filter_.begin(history.front().day);
    std::vector<double> before;
    for (std::size_t t = 0; t + left_out < history.size(); ++t) {
      if (t + left_out + 1 == history.size()) before = filter_.belief();
      take(history[t], history[t + 1].day);
    }
    return before;
  }
  /// As one who knows which items were viewed, but of the order only which came last; `belief` is the one before that.
  void follow_last_only(const std::vector<View>& history, const std::vector<double>& belief) {
    unseen_ = nothing_seen_;
    for (std::size_t t = 0; t + 2 < history.size(); ++t) unseen_.view(history[t].item);
    filter_.set(belief);
    take(history[history.size() - 2], history.back().day);
  }
  std::vector<double> next_item() const { return filter_.next_item(unseen_); }
  const Unseen& unseen() const { return unseen_; }

 private:
  void take(const View& view, int next_day) {
    filter_.observe(view.item, unseen_);
    unseen_.view(view.item);
    filter_.advance(next_day);
  }

  Unseen nothing_seen_;
  Filter filter_;
  Unseen unseen_;
};

nlohmann::ordered_json judge(const Shop& shop) {
  const Counts counts(shop);
  Observer observer(shop), forgetful(shop);
  std::vector<double> usual;  // the mean belief before the last view but one: of somebody who knows no history
  std::int64_t views = 0;
  for (const std::vector<View>& history : shop.views) {
    views += std::ssize(history);
    if (history.size() < kLeastViews) continue;
    const std::vector<double> belief = observer.follow(history, 1);
    usual.resize(belief.size(), 0);
    for (std::size_t i = 0; i < usual.size(); ++i) usual[i] += belief[i];
  }
  Worth best, first_order, markov, popularity;
  double nats = 0;
  for (const std::vector<View>& history : shop.views) {
    if (history.size() < kLeastViews) continue;
    observer.follow(history, 1);
    forgetful.follow_last_only(history, usual);
    const std::vector<double> p = observer.next_item(), guess = forgetful.next_item();
    const auto target = static_cast<std::size_t>(history.back().item);
    const int last = history[history.size() - 2].item;
    const auto rank = [&](const auto& score) { return top_ten(p.size(), observer.unseen(), score); };
    nats -= std::log(p[target]);
    best.add(rank([&](std::size_t i) { return p[i]; }), p, target);
    first_order.add(rank([&](std::size_t i) { return guess[i]; }), p, target);
    markov.add(rank([&](std::size_t i) { return counts.markov(last, i); }), p, target);
    popularity.add(rank([&](std::size_t i) { return counts.views[i]; }), p, target);
  }
  if (best.targets == 0) throw DataError("no customer has three views");
  return {{"targets", best.targets},    {"views", views},
          {"items", shop.items.size()}, {"nats_per_target", nats / static_cast<double>(best.targets)},
          {"best", best.json()},        {"first_order", first_order.json()},
          {"markov", markov.json()},    {"popularity", popularity.json()}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: demo_shop_truth SHOP\n", stderr);
    return 2;
  }
  try {
    std::puts(judge(Shop(argv[1])).dump().c_str());
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "error: %s\n", e.what());
    return 3;
  }
}
