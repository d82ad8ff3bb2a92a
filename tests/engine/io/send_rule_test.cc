#include "engine/io/send_rule.h"

#include "gtest/gtest.h"

namespace ringtail::io {
namespace {

TEST(SendPathTest, NamesParse) {
  for (size_t i = 0; i < kSendPathCount; ++i) {
    SendPath parsed = SendPath::kCopy;
    EXPECT_TRUE(ParseSendPath(SendPathName(static_cast<SendPath>(i)), &parsed));
    EXPECT_EQ(parsed, static_cast<SendPath>(i));
  }
  SendPath untouched = SendPath::kCopy;
  EXPECT_FALSE(ParseSendPath("carrier_pigeon", &untouched));
  EXPECT_EQ(untouched, SendPath::kCopy);
}

TEST(SendRuleTest, TheDefault) {
  const SendRule rule;
  EXPECT_EQ(rule.Choose(2048, true), SendPath::kCopy);
  EXPECT_EQ(rule.Choose(2048, false), SendPath::kCopy) << "not asked";
  EXPECT_EQ(rule.Choose(2049, true), SendPath::kSendfile);
  EXPECT_EQ(rule.Choose(1 << 20, false), SendPath::kCopy);
  EXPECT_EQ(ToText(rule), "2048=copy,*=sendfile,cold=copy");
}

TEST(SendRuleTest, TextsAreReadAndWritten) {
  for (const char* text :
       {"2048=copy,*=sendfile,cold=copy", "*=mapped,cold=splice",
        "1=splice,4096=copy,65536=send_zc,*=mapped,cold=copy", "*=copy,cold=copy"}) {
    const auto rule = ParseSendRule(text);
    ASSERT_TRUE(rule.ok()) << rule.status();
    EXPECT_EQ(ToText(*rule), text);
  }
  const auto rule = ParseSendRule("4096=splice,*=mapped");
  ASSERT_TRUE(rule.ok()) << rule.status();
  EXPECT_EQ(rule->cold, SendPath::kCopy);
  EXPECT_EQ(rule->Choose(4096, true), SendPath::kSplice);
  EXPECT_EQ(rule->Choose(4096, false), SendPath::kCopy) << "cold, however small";
  EXPECT_EQ(rule->Choose(4097, true), SendPath::kMapped);
}

TEST(SendRuleTest, WhatIsWrongIsSaid) {
  std::string many;
  for (int i = 1; i < 20; ++i) many += std::to_string(i) + "=copy,";
  const struct {
    std::string text;
    const char* why;
  } kCases[] = {
      {"", "no path"},
      {"2048=copy", "no *"},
      {"*=auto", "no path \"auto\""},
      {"*=sendfil", "no path \"sendfil\""},
      {"2K=copy,*=sendfile", "no number of bytes \"2K\""},
      {"0=copy,*=sendfile", "no number of bytes"},
      {"-4=copy,*=sendfile", "no number of bytes"},
      {"99999999999999999999=copy,*=sendfile", "no number of bytes"},
      {"2048=copy,2048=mapped,*=sendfile", "do not ascend"},
      {"*=copy,4096=sendfile", "behind *"},
      {"*=copy,*=sendfile", "behind *"},
      {"cold=copy,*=sendfile", "cold comes once"},
      {"*=sendfile,cold=copy,cold=copy", "cold comes once"},
      {"*=sendfile,cold=mapped", "cold is copy or splice"},
      {"*=sendfile,", "no path"},
      {many + "*=sendfile", "more than 16"},
  };
  for (const auto& each : kCases) {
    const auto rule = ParseSendRule(each.text);
    ASSERT_FALSE(rule.ok()) << each.text;
    EXPECT_EQ(rule.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(rule.status().message().find(each.why), absl::string_view::npos) << rule.status();
  }
}

}  // namespace
}  // namespace ringtail::io
