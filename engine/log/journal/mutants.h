// Faults that are built in on purpose, one at a time, to prove that the tests catch them: in the
// library `mutants`, which only tests/engine/log/journal:mutants_test links, the environment's
// JOURNAL_MUTANT names one. In every other build all are false, and cost nothing.
#pragma once

#ifdef RT_JOURNAL_MUTANTS
#include <cstdlib>
#include <cstring>
#endif

namespace ringtail::log {

#ifdef RT_JOURNAL_MUTANTS
#define RT_JOURNAL_MUTANT(constant, name)                                  \
  inline const bool constant = std::getenv("JOURNAL_MUTANT") != nullptr && \
                               std::strcmp(std::getenv("JOURNAL_MUTANT"), name) == 0
#else
#define RT_JOURNAL_MUTANT(constant, name) inline constexpr bool constant = false
#endif

RT_JOURNAL_MUTANT(kMutantAckBeforeFrame, "ack_before_frame");
RT_JOURNAL_MUTANT(kMutantIgnoreRun, "ignore_run");
RT_JOURNAL_MUTANT(kMutantIgnoreFileNumber, "ignore_file_number");
RT_JOURNAL_MUTANT(kMutantDurableSeqZero, "durable_seq_zero");
RT_JOURNAL_MUTANT(kMutantFreeBeforeCheckpoint, "free_before_checkpoint");
RT_JOURNAL_MUTANT(kMutantPublishAfterTruncation, "publish_after_truncation");
RT_JOURNAL_MUTANT(kMutantRetryFailedSync, "retry_failed_sync");
RT_JOURNAL_MUTANT(kMutantNoFlushAfterSyncfs, "no_flush_after_syncfs");
RT_JOURNAL_MUTANT(kMutantTailFromOnePartition, "tail_from_one_partition");
RT_JOURNAL_MUTANT(kMutantFramesAfterTear, "frames_after_tear");
RT_JOURNAL_MUTANT(kMutantKeepTail, "keep_tail");
RT_JOURNAL_MUTANT(kMutantKeyByName, "key_by_name");
RT_JOURNAL_MUTANT(kMutantNoSuspects, "no_suspects");
RT_JOURNAL_MUTANT(kMutantSuspectsForgotten, "suspects_forgotten");
RT_JOURNAL_MUTANT(kMutantCutBeforeTruncate, "cut_before_truncate");

#undef RT_JOURNAL_MUTANT

}  // namespace ringtail::log
