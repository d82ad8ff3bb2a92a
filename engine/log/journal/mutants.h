// Faults that are built in on purpose (--define=journal_mutant=NAME), one at a time, to prove that
// the tests catch them: tests/engine/log/journal. All false in every other build.
#pragma once

namespace ringtail::log {

#ifdef RT_MUTANT_ack_before_frame
inline constexpr bool kMutantAckBeforeFrame = true;
#else
inline constexpr bool kMutantAckBeforeFrame = false;
#endif

#ifdef RT_MUTANT_ignore_run
inline constexpr bool kMutantIgnoreRun = true;
#else
inline constexpr bool kMutantIgnoreRun = false;
#endif

#ifdef RT_MUTANT_ignore_file_number
inline constexpr bool kMutantIgnoreFileNumber = true;
#else
inline constexpr bool kMutantIgnoreFileNumber = false;
#endif

#ifdef RT_MUTANT_durable_seq_zero
inline constexpr bool kMutantDurableSeqZero = true;
#else
inline constexpr bool kMutantDurableSeqZero = false;
#endif

#ifdef RT_MUTANT_free_before_checkpoint
inline constexpr bool kMutantFreeBeforeCheckpoint = true;
#else
inline constexpr bool kMutantFreeBeforeCheckpoint = false;
#endif

#ifdef RT_MUTANT_publish_after_truncation
inline constexpr bool kMutantPublishAfterTruncation = true;
#else
inline constexpr bool kMutantPublishAfterTruncation = false;
#endif

#ifdef RT_MUTANT_retry_failed_sync
inline constexpr bool kMutantRetryFailedSync = true;
#else
inline constexpr bool kMutantRetryFailedSync = false;
#endif

#ifdef RT_MUTANT_no_flush_after_syncfs
inline constexpr bool kMutantNoFlushAfterSyncfs = true;
#else
inline constexpr bool kMutantNoFlushAfterSyncfs = false;
#endif

#ifdef RT_MUTANT_tail_from_one_partition
inline constexpr bool kMutantTailFromOnePartition = true;
#else
inline constexpr bool kMutantTailFromOnePartition = false;
#endif

}  // namespace ringtail::log
