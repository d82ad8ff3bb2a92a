#include "tools/top/view.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gtest/gtest.h"

namespace ringtail::top {
namespace {

MetricsPage Page(absl::string_view text) {
  auto page = MetricsPage::Parse(text);
  EXPECT_TRUE(page.ok()) << page.status();
  return *std::move(page);
}

// A broker of one core, when it has worked for `n` seconds.
MetricsPage Busy(int n) {
  return Page(absl::StrReplaceAll(
      R"page(ringtail_build_info{version="0.1.0 (build abc)"} 1
ringtail_ready 1
process_resident_memory_bytes 20971520
process_open_fds 30
process_cpu_seconds_total N.25
ringtail_core_up{core="0"} 1
ringtail_core_busy_seconds_total{core="0"} N.5
ringtail_connections{core="0"} 3
ringtail_produce_requests_total{core="0"} N000
ringtail_fetch_requests_total{core="0"} N00
ringtail_fetch_waits_total{core="0"} N0
ringtail_hops_total{core="0"} 0
ringtail_io_in_flight{core="0"} 4
ringtail_core_stalls_total{core="0"} 0
ringtail_latency_seconds_bucket{core="0",operation="produce",le="0.001"} N00
ringtail_latency_seconds_bucket{core="0",operation="produce",le="0.002"} N98
ringtail_latency_seconds_bucket{core="0",operation="produce",le="+Inf"} N000
ringtail_latency_seconds_count{core="0",operation="produce"} N000
ringtail_journal_up{core="0"} 1
ringtail_journal_frames_total{core="0"} N00
ringtail_journal_entries_total{core="0"} N000
ringtail_journal_frame_bytes_total{core="0"} N048576
ringtail_journal_used_bytes{core="0"} 1000
ringtail_journal_capacity_bytes{core="0"} 4000
ringtail_log_append_batches_total{core="0"} N000
ringtail_log_append_bytes_total{core="0"} N000000
ringtail_log_writes_total{core="0",path="inline"} N00
ringtail_log_writes_total{core="0",path="ring"} N00
ringtail_send_file_bytes_total{core="0",path="sendfile"} N000000
ringtail_send_fallbacks_total{core="0",reason="no_pipe"} N
ringtail_send_span_bytes_total{core="0"} N00
ringtail_disk_available_bytes 1073741824
ringtail_partition_in_bytes_total{topic="t",partition="0"} N000
ringtail_partition_out_bytes_total{topic="t",partition="0"} N00
ringtail_partition_log_end_offset{topic="t",partition="0"} N0
ringtail_partition_in_bytes_total{topic="busy",partition="1"} N000000
ringtail_partition_in_bytes_total{topic="idle",partition="0"} 5
ringtail_partitions_omitted 0
)page",
      {{"N", absl::StrCat(n)}}));
}

TEST(ViewTest, RatesAreThoseBetweenThePages) {
  EXPECT_EQ(
      Render(Busy(1), Busy(3), {.address = "here:1", .seconds = 2}),
      R"(ringtail 0.1.0 at here:1, 1 cores, 2.0 s: CPU 100.0 %, memory 20M, descriptors 30, disk free 1G

core  busy %  conns  produce/s  p50 us  p99 us  fetch/s  p50 us  p99 us  waits/s  hops/s  in flight  stalls/s
0      100.0      3         1k    more    more      100       -       -       10       0          4         0

journal  frames/s  entries/frame  bytes/s  filled %  syncs/s  stalls/s  oldest write ms  state
0             100             10     977K      25.0        -         -                -   open

writes  batches/s  bytes/s  batches/write  inline/s  ring/s  in place/s  p99 us  failed/s
0              1k     977K              5       100     100           -       -         -

sends  sendfile/s  memory/s  cold reads/s  !no_pipe/s
0            977K       100             -           1

partition  in/s  out/s  records/s
busy-1     977K      0          0
t-0        1.0K    100         10
)");
}

TEST(ViewTest, AQuantileIsTheBoundOfItsBucket) {
  const auto page = [](int fast, int slow) {
    return Page(absl::StrCat(
        "ringtail_core_up{core=\"0\"} 1\n"
        "ringtail_latency_seconds_bucket{core=\"0\",operation=\"fetch\",le=\"0.0001\"} ",
        fast, "\nringtail_latency_seconds_bucket{core=\"0\",operation=\"fetch\",le=\"0.02\"} ",
        fast + slow,
        "\nringtail_latency_seconds_bucket{core=\"0\",operation=\"fetch\",le=\"+Inf\"} ",
        fast + slow, "\nringtail_latency_seconds_count{core=\"0\",operation=\"fetch\"} ",
        fast + slow, "\n"));
  };
  // What was before the first page does not count.
  const std::string text = Render(page(1000, 1000), page(1095, 1005), {.seconds = 1});
  EXPECT_TRUE(absl::StrContains(text, " 100     20k ")) << text;
}

TEST(ViewTest, WhatIsWrongIsInTheSecondLine) {
  const MetricsPage page = Page(
      "ringtail_core_up{core=\"0\"} 0\nringtail_core_up{core=\"1\"} 1\nringtail_disk_low 1\n"
      "ringtail_ready 0\nringtail_partitions_offline{core=\"1\"} 2\n");
  const std::string text = Render(page, page, {.seconds = 1});
  EXPECT_TRUE(absl::StrContains(
      text,
      "\n! it is not ready yet; the disk is low: appends are refused; cores that do not answer: 0; "
      "2 partitions are offline\n"))
      << text;
}

TEST(ViewTest, ABrokerThatHasStartedAgainCountsFromZero) {
  const std::string text = Render(Busy(9), Busy(1), {.seconds = 1});
  EXPECT_TRUE(absl::StrContains(text, "\n0      150.0")) << text;
}

TEST(ViewTest, AnEmptyPageAndASmallTerminalAreFine) {
  const MetricsPage none = Page("");
  EXPECT_TRUE(absl::StrContains(Render(none, none, {.seconds = 1}), "ringtail - at"));
  const std::string text =
      Render(Busy(1), Busy(2), {.seconds = 1, .rows_max = 4, .columns_max = 10});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 4);
  EXPECT_TRUE(absl::StartsWith(text, "ringtail 0\n\ncore  busy\n")) << text;
}

TEST(ViewTest, TheBusiestPartitionsComeFirst) {
  const std::string text = Render(Busy(1), Busy(2), {.seconds = 1, .partitions_max = 1});
  EXPECT_TRUE(absl::StrContains(text, "busy-1")) << text;
  EXPECT_FALSE(absl::StrContains(text, "t-0")) << text;
  EXPECT_TRUE(absl::StrContains(text, "1 more partitions are in use")) << text;
}

}  // namespace
}  // namespace ringtail::top
