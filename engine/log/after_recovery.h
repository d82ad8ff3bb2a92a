// What recovery hands on: to the core's journal, and to each log that is opened behind it.
#pragma once

#include <cstdint>

#include "engine/log/journal/core_journal.h"
#include "engine/log/journal/recovery.h"
#include "engine/log/log.h"

namespace ringtail::log {

// Fills in what one of today's cores goes on with; `options` has what is set about it.
CoreJournalOptions ContinueJournal(const RecoveryResult& recovered, uint32_t core,
                                   const std::string& data_dir, CoreJournalOptions options);

// Of a result that is not kFresh. A partition that recovery found nothing of is scanned.
OpenOptions OpenRecovered(const RecoveryResult& recovered, const JournalKey& key);

}  // namespace ringtail::log
