// Events of recommenders in a prepared file (prepared_file.h), which is mapped and not read: sets that are larger than memory.
//
// /events/offsets   int64 [users + 1]: user u has the events [offsets[u], offsets[u + 1])
// /events/item      int32 [events], a user's in order of time
// /events/time      int64 [events], microseconds since 1970 in UTC; only with data.time_key
// /events/part      uint8 [events]: 0 training, 1 validation, 2 test
// /users, /items    uint8: their vocabularies, as vocabulary.h serialises them
//
// The result is that of load_interactions, to the byte, whatever the number of partitions (event_partitions.h, which says what
// is held in memory). What it needs on disk while it is made is about twice the file. An open one holds, beside what is mapped,
// nothing of events; of users and items 16 to 32 bytes each once a name is looked for.
#pragma once

#include <cstdint>

#include "runtime/data/interactions.h"
#include "runtime/data/prepare.h"

namespace tradewind::runtime {

/// Reads the table of events; options' threads, pieces and vocabulary_size are not looked at. kBefore: the file is there, made
/// of the same table in the same way; nothing was done. kStopped: the observer, which is asked before each
/// partition that is gone over, asked for it; the same call begins anew. Throws as load_interactions and prepare_text do, and
/// where the table is no regular file or the work folder (work_folder.h) is not its own. From the main thread (HDF5).
Prepared prepare_interactions(const InteractionsConfig& config, std::uint64_t seed, const PrepareOptions& options,
                              PrepareObserver& observer, int partitions = 128);

/// What data.prepared holds. Throws ConfigError where it was prepared with other keys, DataError where it is damaged, or of
/// another table than data.path now is (its contents are compared where its time of change is another), or where its users or
/// items are not the existing ones (null: any).
Interactions open_prepared_interactions(const InteractionsConfig& config, std::uint64_t seed, const Vocabulary* existing_users,
                                        const Vocabulary* existing_items);

}  // namespace tradewind::runtime
