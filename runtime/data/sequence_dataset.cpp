#include "runtime/data/sequence_dataset.h"

#include <algorithm>

#include "kernels/base/error.h"

namespace tradewind::runtime {
namespace {

/// Packs sequences into the fields of a batch, row by row.
class Packer {
 public:
  Packer(Allocator& allocator, std::int64_t rows, std::int64_t sequences, bool times, bool from_newest)
      : from_newest_(from_newest),
        ids_(allocator, {rows}, DType::kInt32),
        targets_(allocator, {rows}, DType::kInt32),
        positions_(allocator, {rows}, DType::kInt32),
        slots_(allocator, {rows}, DType::kInt32),
        samples_(allocator, {rows}, DType::kUInt64),
        offsets_(allocator, {sequences + 1}, DType::kInt64) {
    offsets_.data<std::int64_t>()[0] = 0;
    if (!times) return;
    times_ = Tensor(allocator, {rows}, DType::kInt64);
    request_times_ = Tensor(allocator, {rows}, DType::kInt64);
  }

  /// `target` is -100 where there is none.
  void row(std::int32_t item, std::int32_t target, std::uint64_t sample) {
    const auto position = static_cast<std::int32_t>(row_ - offsets_.data<std::int64_t>()[sequence_]);
    ids_.data<std::int32_t>()[row_] = item;
    targets_.data<std::int32_t>()[row_] = target;
    positions_.data<std::int32_t>()[row_] = position;
    slots_.data<std::int32_t>()[row_] = position;
    samples_.data<std::uint64_t>()[row_] = sample;
    batch_.valid += target >= 0 ? 1 : 0;
    ++row_;
  }
  /// Of the row before: when it was, and when what comes next is asked for.
  void at(std::int64_t time, std::int64_t request) {
    times_.data<std::int64_t>()[row_ - 1] = time;
    request_times_.data<std::int64_t>()[row_ - 1] = request;
  }
  void close() {
    auto* const offsets = offsets_.data<std::int64_t>();
    const auto positions = positions_.span<std::int32_t>().subspan(static_cast<std::size_t>(offsets[sequence_]),
                                                                   static_cast<std::size_t>(row_ - offsets[sequence_]));
    if (from_newest_) std::ranges::reverse(positions);
    batch_.max_length = std::max(batch_.max_length, row_ - offsets[sequence_]);
    offsets[++sequence_] = row_;
  }
  Batch finish() {
    batch_.fields = {{"ids", ids_},         {"targets", targets_}, {"offsets", offsets_}, {"positions", positions_},
                     {"samples", samples_}, {"slots", slots_}};
    if (times_.defined()) {
      batch_.fields["times"] = times_;
      batch_.fields["request_times"] = request_times_;
    }
    batch_.samples = sequence_;
    return std::move(batch_);
  }

 private:
  Batch batch_;
  bool from_newest_;
  Tensor ids_, targets_, positions_, slots_, samples_, offsets_, times_, request_times_;
  std::int64_t row_ = 0, sequence_ = 0;
};

std::int64_t begin_of(const Interactions& x, std::int32_t user) { return x.offsets[static_cast<std::size_t>(user)]; }
std::int64_t end_of(const Interactions& x, std::int32_t user) { return x.offsets[static_cast<std::size_t>(user) + 1]; }

/// The items of a user's events for which `wanted(part)`, in time order.
template <class Wanted>
void items_of(std::vector<std::int32_t>& to, const Interactions& x, std::int32_t user, Wanted wanted) {
  to.clear();
  for (std::int64_t e = begin_of(x, user); e < end_of(x, user); ++e)
    if (wanted(x.part[static_cast<std::size_t>(e)])) to.push_back(x.item[static_cast<std::size_t>(e)]);
}

template <class T>
void keep_last(std::vector<T>& x, std::size_t count) {
  if (x.size() > count) x.erase(x.begin(), x.end() - static_cast<std::ptrdiff_t>(count));
}

std::int64_t count_of(const Interactions& x, std::int32_t user, Part part) {
  const auto parts = x.part.span().subspan(static_cast<std::size_t>(begin_of(x, user)),
                                           static_cast<std::size_t>(end_of(x, user) - begin_of(x, user)));
  return std::ranges::count(parts, part);
}

/// Which rows have targets, and these.
void add_trained(Batch& batch, Allocator& allocator) {
  const Tensor rows(allocator, {batch.valid}, DType::kInt32), wanted(allocator, {batch.valid}, DType::kInt32);
  const auto targets = batch["targets"].span<std::int32_t>();
  std::int64_t m = 0;
  for (std::size_t n = 0; n < targets.size(); ++n) {
    if (targets[n] < 0) continue;
    rows.data<std::int32_t>()[m] = static_cast<std::int32_t>(n);
    wanted.data<std::int32_t>()[m++] = targets[n];
  }
  batch.fields["trained"] = rows;
  batch.fields["trained_targets"] = wanted;
}

}  // namespace

std::vector<std::int32_t> training_items(const Interactions& x, std::int32_t user) {
  std::vector<std::int32_t> out;
  items_of(out, x, user, [](Part part) { return part == Part::kTrain; });
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

SequenceDataset::SequenceDataset(std::shared_ptr<const Interactions> interactions, const SequenceOptions& options,
                                 Allocator& allocator)
    : interactions_(std::move(interactions)),
      options_(options),
      allocator_(allocator),
      samples_(all_samples()),
      negatives_(interactions_, users(), options.negatives, options.seed, target_counts(), options.targets.masked > 0 ? 1 : 0) {
  require(options.context >= 1 && options.negatives.count >= 0, "SequenceDataset", "context must be at least 1");
  require(!options.times || !interactions_->time.empty(), "SequenceDataset", "the interactions have no times");
}

std::vector<SequenceDataset::Sample> SequenceDataset::all_samples() const {
  std::vector<Sample> out;
  for (std::int32_t user = 0; user < interactions_->users->size(); ++user) {
    const auto events = static_cast<std::int32_t>(count_of(*interactions_, user, Part::kTrain));
    for (std::int32_t end = options_.targets.prefixes ? 2 : std::max(2, events); end <= events; ++end)
      out.push_back({user, end});
  }
  if (out.empty())
    throw DataError(
        "training: no user has two events in the training part, so there is nothing to learn a sequence from; give more "
        "events, or hold out fewer (data.split)");
  return out;
}

/// Of the samples, each once.
std::vector<std::int32_t> SequenceDataset::users() const {
  std::vector<std::int32_t> out;
  for (const Sample& one : samples_)
    if (out.empty() || out.back() != one.user) out.push_back(one.user);
  return out;
}

SampleRows SequenceDataset::rows(const Sample& sample, std::uint64_t running) const {
  std::vector<std::int32_t> items;
  items_of(items, *interactions_, sample.user, [](Part part) { return part == Part::kTrain; });
  const auto history = std::span(items).first(static_cast<std::size_t>(sample.events));
  const auto most = static_cast<std::size_t>(options_.targets.window(options_.context));
  return rows_of(history.last(std::min(most, history.size())), options_.targets, interactions_->items->size(), options_.seed,
                 running);
}

std::vector<std::int64_t> SequenceDataset::times(const Sample& sample) const {
  auto out = times_of(*interactions_, sample.user, [](Part part) { return part == Part::kTrain; }).seconds;
  out.resize(static_cast<std::size_t>(sample.events));
  keep_last(out, static_cast<std::size_t>(options_.targets.window(options_.context)));
  return out;
}

/// How often each item is a target in an epoch (of masks: the first), where in_batch is to be corrected by it.
std::vector<std::int64_t> SequenceDataset::target_counts() const {
  if (!options_.negatives.in_batch() || !options_.negatives.log_q) return {};
  std::vector<std::int64_t> out(static_cast<std::size_t>(interactions_->items->size()));
  for (std::size_t i = 0; i < samples_.size(); ++i)
    for (const std::int32_t target : rows(samples_[i], i).targets)
      if (target >= 0) ++out[static_cast<std::size_t>(target)];
  return out;
}

void SequenceDataset::add_negatives(Batch& batch, std::span<const SampleRef> samples) const {
  const NegativeSampling& wanted = options_.negatives;
  if (negatives_.log_q().defined()) batch.fields["log_q"] = negatives_.log_q();
  if (wanted.in_batch()) {
    batch.fields["negatives"] = batch[options_.targets.sparse() ? "trained_targets" : "targets"];
    return;
  }
  if (wanted.shared) {
    const Tensor set(allocator_, {wanted.count}, DType::kInt32);
    negatives_.draw_set(set.span<std::int32_t>(), samples[0].running);
    batch.fields["negatives"] = set;
    return;
  }
  const auto* const offsets = batch["offsets"].data<std::int64_t>();
  const auto* const targets = batch["targets"].data<std::int32_t>();
  const Tensor drawn(allocator_, {batch.valid, wanted.count}, DType::kInt32);
  const auto n = static_cast<std::size_t>(wanted.count);
  auto left = drawn.span<std::int32_t>();
  for (std::size_t i = 0; i < samples.size(); ++i)
    for (std::int64_t row = offsets[i]; row < offsets[i + 1]; ++row) {
      if (targets[row] < 0) continue;
      negatives_.draw(left.first(n), sample(samples[i]).user, samples[i].running, row - offsets[i]);
      left = left.subspan(n);
    }
  batch.fields["negatives"] = drawn;
}

Batch SequenceDataset::collate(std::span<const SampleRef> samples) const {
  std::vector<SampleRows> each;
  std::int64_t n = 0;
  for (const SampleRef& ref : samples)
    n += static_cast<std::int64_t>(each.emplace_back(rows(sample(ref), ref.running)).ids.size());
  Packer packer(allocator_, n, static_cast<std::int64_t>(samples.size()), options_.times, options_.from_newest);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto at = options_.times ? times(sample(samples[i])) : std::vector<std::int64_t>();
    for (std::size_t t = 0; t < each[i].ids.size(); ++t) {
      packer.row(each[i].ids[t], each[i].targets[t], samples[i].running);
      if (options_.times) packer.at(at[t], at[std::min(t + 1, at.size() - 1)]);
    }
    packer.close();
  }
  Batch batch = packer.finish();
  if (options_.targets.sparse()) add_trained(batch, allocator_);
  if (options_.negatives.count > 0) add_negatives(batch, samples);
  return batch;
}

HeldOut::HeldOut(std::shared_ptr<const Interactions> interactions, Part part, const HistoryForm& form, Allocator& allocator)
    : interactions_(std::move(interactions)), part_(part), form_(form), allocator_(allocator) {
  require(part != Part::kTrain && form.context >= 1, "HeldOut", "the part is one that is held out, and context at least 1");
  require(!form.times || !interactions_->time.empty(), "HeldOut", "the interactions have no times");
  for (std::int32_t user = 0; user < interactions_->users->size(); ++user)
    if (count_of(*interactions_, user, part) > 0) users_.push_back(user);
}

HeldOut::Queries HeldOut::collate(std::int64_t begin, std::int64_t end) const {
  Queries out;
  std::vector<std::vector<std::int32_t>> histories;
  std::vector<HistoryTimes> times;
  std::vector<std::int32_t> items;
  const auto before = [this](Part part) { return part < part_; };
  const auto asked = [this](Part part) { return part == part_; };
  for (std::int64_t i = begin; i < end; ++i) {
    items_of(items, *interactions_, user(i), before);
    histories.push_back(items);
    if (form_.times) {
      times.push_back(times_of(*interactions_, user(i), before));
      times.back().request = times_of(*interactions_, user(i), asked).seconds.front();
    }
    std::ranges::sort(items);
    items.erase(std::unique(items.begin(), items.end()), items.end());
    out.seen.items.insert(out.seen.items.end(), items.begin(), items.end());
    out.seen.offsets.push_back(static_cast<std::int64_t>(out.seen.items.size()));
    items_of(items, *interactions_, user(i), asked);
    auto& targets = out.targets.items;
    const auto first = static_cast<std::ptrdiff_t>(targets.size());
    for (const std::int32_t item : items)
      if (interactions_->items->is_bucket(item) || std::find(targets.begin() + first, targets.end(), item) == targets.end())
        targets.push_back(item);
    out.targets.offsets.push_back(static_cast<std::int64_t>(targets.size()));
  }
  out.batch = pack_histories(histories, form_, std::span(users_).subspan(static_cast<std::size_t>(begin), histories.size()),
                             times, allocator_);
  return out;
}

std::int64_t seconds_of(std::int64_t microseconds) {
  constexpr std::int64_t kSecond = 1'000'000;
  return microseconds / kSecond - (microseconds % kSecond < 0 ? 1 : 0);
}

HistoryTimes times_of(const Interactions& x, std::int32_t user, const std::function<bool(Part)>& wanted) {
  HistoryTimes out;
  for (std::int64_t e = begin_of(x, user); e < end_of(x, user); ++e)
    if (wanted(x.part[static_cast<std::size_t>(e)])) out.seconds.push_back(seconds_of(x.time[static_cast<std::size_t>(e)]));
  return out;
}

Batch pack_histories(std::span<const std::vector<std::int32_t>> histories, const HistoryForm& form,
                     std::span<const std::int32_t> users, std::span<const HistoryTimes> times, Allocator& allocator) {
  require(!form.times || times.size() == histories.size(), "pack_histories", "a history has no times");
  const std::int64_t masks = form.mask >= 0 ? 1 : 0, most = form.context - masks;
  std::int64_t rows = 0;
  for (const auto& h : histories)
    if (!h.empty()) rows += masks + std::min(most, static_cast<std::int64_t>(h.size()));
  Packer packer(allocator, rows, static_cast<std::int64_t>(histories.size()), form.times, form.from_newest);
  for (std::size_t i = 0; i < histories.size(); ++i) {
    const auto& h = histories[i];
    const std::size_t from = h.size() - std::min(h.size(), static_cast<std::size_t>(most));
    require(!form.times || times[i].seconds.size() == h.size(), "pack_histories", "an event of a history has no time");
    for (std::size_t t = from; t < h.size(); ++t) {
      packer.row(h[t], -100, i);
      if (form.times) packer.at(times[i].seconds[t], t + 1 < h.size() ? times[i].seconds[t + 1] : times[i].request);
    }
    if (masks > 0 && !h.empty()) {
      packer.row(form.mask, -100, i);
      if (form.times) packer.at(times[i].request, times[i].request);
    }
    packer.close();
  }
  Batch batch = packer.finish();
  if (users.empty()) return batch;
  require(users.size() == histories.size(), "pack_histories", "users are one a history, or none");
  const Tensor numbers(allocator, {static_cast<std::int64_t>(users.size())}, DType::kInt32);
  std::ranges::copy(users, numbers.data<std::int32_t>());
  batch.fields["users"] = numbers;
  return batch;
}

}  // namespace tradewind::runtime
