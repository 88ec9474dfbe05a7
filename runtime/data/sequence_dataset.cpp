#include "runtime/data/sequence_dataset.h"

#include <algorithm>
#include <utility>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "runtime/core/context.h"

namespace tradewind::runtime {
namespace {

/// Packs sequences into the fields of a batch, row by row.
class Packer {
 public:
  Packer(Allocator& allocator, std::int64_t rows, std::int64_t sequences)
      : ids_(allocator, {rows}, DType::kInt32),
        targets_(allocator, {rows}, DType::kInt32),
        positions_(allocator, {rows}, DType::kInt32),
        slots_(allocator, {rows}, DType::kInt32),
        samples_(allocator, {rows}, DType::kUInt64),
        offsets_(allocator, {sequences + 1}, DType::kInt64) {
    offsets_.data<std::int64_t>()[0] = 0;
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
  void close() {
    auto* const offsets = offsets_.data<std::int64_t>();
    batch_.max_length = std::max(batch_.max_length, row_ - offsets[sequence_]);
    offsets[++sequence_] = row_;
  }
  Batch finish() {
    batch_.fields = {{"ids", ids_},         {"targets", targets_}, {"offsets", offsets_}, {"positions", positions_},
                     {"samples", samples_}, {"slots", slots_}};
    batch_.samples = sequence_;
    return std::move(batch_);
  }

 private:
  Batch batch_;
  Tensor ids_, targets_, positions_, slots_, samples_, offsets_;
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

std::int64_t count_of(const Interactions& x, std::int32_t user, Part part) {
  const auto parts = std::span(x.part).subspan(static_cast<std::size_t>(begin_of(x, user)),
                                               static_cast<std::size_t>(end_of(x, user) - begin_of(x, user)));
  return std::ranges::count(parts, part);
}

/// The items of a user's training events, ascending, each once.
std::vector<std::int32_t> training_items(const Interactions& x, std::int32_t user) {
  std::vector<std::int32_t> out;
  items_of(out, x, user, [](Part part) { return part == Part::kTrain; });
  std::ranges::sort(out);
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
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

/// Number `column` below n of a position of a sample, try `attempt`.
std::int32_t drawn(kernels::PhiloxKey key, std::uint64_t sample, std::int64_t position, std::int64_t column,
                   std::uint32_t attempt, std::int64_t n) {
  const auto block =
      kernels::philox(key, {{static_cast<std::uint32_t>(column), static_cast<std::uint32_t>(position) ^ attempt << 24,
                             static_cast<std::uint32_t>(sample), static_cast<std::uint32_t>(sample >> 32)}});
  const std::uint64_t bits = std::uint64_t{block.w[0]} << 32 | block.w[1];
  return static_cast<std::int32_t>(static_cast<unsigned __int128>(bits) * static_cast<std::uint64_t>(n) >> 64);
}

}  // namespace

SequenceDataset::SequenceDataset(std::shared_ptr<const Interactions> interactions, const SequenceOptions& options,
                                 Allocator& allocator)
    : interactions_(std::move(interactions)), options_(options), allocator_(allocator) {
  require(options.context >= 1 && options.negatives >= 0, "SequenceDataset", "context must be at least 1");
  for (std::int32_t user = 0; user < interactions_->users->size(); ++user) {
    const auto events = static_cast<std::int32_t>(count_of(*interactions_, user, Part::kTrain));
    for (std::int32_t end = options.targets.prefixes ? 2 : std::max(2, events); end <= events; ++end)
      samples_.push_back({user, end});
  }
  if (samples_.empty())
    throw DataError(
        "training: no user has two events in the training part, so there is nothing to learn a sequence from; give more "
        "events, "
        "or hold out fewer (data.split)");
  if (options.negatives == 0 || options.shared_negatives) return;
  for (std::int32_t before = -1; const auto& [user, events] : samples_) {
    if (std::exchange(before, user) == user) continue;
    if (static_cast<std::int32_t>(training_items(*interactions_, user).size()) == interactions_->items->size())
      throw DataError("training: user \"" + std::string(interactions_->users->name(user)) +
                      "\" has had every item, so there is no negative for it; leave it out, or use model.loss = \"softmax\"");
  }
}

/// Draws until it meets an item that the user has not had; the last resort is the next such item in order.
Tensor SequenceDataset::draw(std::span<const SampleRef> samples, const Batch& batch) const {
  const std::int64_t n = options_.negatives, items = interactions_->items->size();
  const auto key = kernels::philox_key(options_.seed, purpose_of("negatives"));
  if (options_.shared_negatives) {
    Tensor out(allocator_, {n}, DType::kInt32);
    for (std::int64_t j = 0; j < n; ++j) out.data<std::int32_t>()[j] = drawn(key, samples[0].running, 0, j, 0, items);
    return out;
  }
  const auto* offsets = batch["offsets"].data<std::int64_t>();
  const auto* targets = batch["targets"].data<std::int32_t>();
  Tensor out(allocator_, {batch.valid, n}, DType::kInt32);
  auto* to = out.data<std::int32_t>();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto had = training_items(*interactions_, sample(samples[i]).user);
    const auto is_had = [&](std::int32_t item) { return std::ranges::binary_search(had, item); };
    for (std::int64_t t = 0; t < offsets[i + 1] - offsets[i]; ++t) {
      if (targets[offsets[i] + t] < 0) continue;
      for (std::int64_t j = 0; j < n; ++j) {
        std::uint32_t attempt = 0;
        std::int32_t item = drawn(key, samples[i].running, t, j, attempt, items);
        while (is_had(item) && ++attempt < 100) item = drawn(key, samples[i].running, t, j, attempt, items);
        while (is_had(item)) item = static_cast<std::int32_t>((item + 1) % items);
        *to++ = item;
      }
    }
  }
  return out;
}

Batch SequenceDataset::collate(std::span<const SampleRef> samples) const {
  const auto most = static_cast<std::size_t>(options_.targets.window(options_.context));
  std::vector<SampleRows> each;
  std::vector<std::int32_t> items;
  std::int64_t rows = 0;
  for (const SampleRef& ref : samples) {
    const auto [user, events] = sample(ref);
    items_of(items, *interactions_, user, [](Part part) { return part == Part::kTrain; });
    const auto history = std::span(items).first(static_cast<std::size_t>(events));
    each.push_back(rows_of(history.last(std::min(most, history.size())), options_.targets, interactions_->items->size(),
                           options_.seed, ref.running));
    rows += static_cast<std::int64_t>(each.back().ids.size());
  }
  Packer packer(allocator_, rows, static_cast<std::int64_t>(samples.size()));
  for (std::size_t i = 0; i < samples.size(); ++i) {
    for (std::size_t t = 0; t < each[i].ids.size(); ++t) packer.row(each[i].ids[t], each[i].targets[t], samples[i].running);
    packer.close();
  }
  Batch batch = packer.finish();
  if (options_.targets.sparse()) add_trained(batch, allocator_);
  if (options_.negatives > 0) batch.fields["negatives"] = draw(samples, batch);
  return batch;
}

HeldOut::HeldOut(std::shared_ptr<const Interactions> interactions, Part part, const HistoryForm& form, Allocator& allocator)
    : interactions_(std::move(interactions)), part_(part), form_(form), allocator_(allocator) {
  require(part != Part::kTrain && form.context >= 1, "HeldOut", "the part is one that is held out, and context at least 1");
  for (std::int32_t user = 0; user < interactions_->users->size(); ++user)
    if (count_of(*interactions_, user, part) > 0) users_.push_back(user);
}

HeldOut::Queries HeldOut::collate(std::int64_t begin, std::int64_t end) const {
  Queries out;
  std::vector<std::vector<std::int32_t>> histories;
  std::vector<std::int32_t> items;
  for (std::int64_t i = begin; i < end; ++i) {
    items_of(items, *interactions_, user(i), [this](Part part) { return part < part_; });
    histories.push_back(items);
    std::ranges::sort(items);
    items.erase(std::unique(items.begin(), items.end()), items.end());
    out.seen.items.insert(out.seen.items.end(), items.begin(), items.end());
    out.seen.offsets.push_back(static_cast<std::int64_t>(out.seen.items.size()));
    items_of(items, *interactions_, user(i), [this](Part part) { return part == part_; });
    auto& targets = out.targets.items;
    const auto first = static_cast<std::ptrdiff_t>(targets.size());
    for (const std::int32_t item : items)
      if (interactions_->items->is_bucket(item) || std::find(targets.begin() + first, targets.end(), item) == targets.end())
        targets.push_back(item);
    out.targets.offsets.push_back(static_cast<std::int64_t>(targets.size()));
  }
  out.batch = pack_histories(histories, form_, std::span(users_).subspan(static_cast<std::size_t>(begin), histories.size()),
                             allocator_);
  return out;
}

Batch pack_histories(std::span<const std::vector<std::int32_t>> histories, const HistoryForm& form,
                     std::span<const std::int32_t> users, Allocator& allocator) {
  const std::int64_t masks = form.mask >= 0 ? 1 : 0, most = form.context - masks;
  std::int64_t rows = 0;
  for (const auto& h : histories)
    if (!h.empty()) rows += masks + std::min(most, static_cast<std::int64_t>(h.size()));
  Packer packer(allocator, rows, static_cast<std::int64_t>(histories.size()));
  for (std::size_t i = 0; i < histories.size(); ++i) {
    const auto& h = histories[i];
    const std::size_t from = h.size() - std::min(h.size(), static_cast<std::size_t>(most));
    for (std::size_t t = from; t < h.size(); ++t) packer.row(h[t], -100, i);
    if (masks > 0 && !h.empty()) packer.row(form.mask, -100, i);
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
