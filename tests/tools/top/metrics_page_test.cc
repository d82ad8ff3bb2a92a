#include "tools/top/metrics_page.h"

#include <cmath>

#include "gtest/gtest.h"

namespace ringtail::top {
namespace {

TEST(MetricsPageTest, SamplesAreFoundByNameAndLabels) {
  const auto page = MetricsPage::Parse(
      "# HELP a What it is\n# TYPE a counter\n"
      "a{core=\"0\",path=\"ring\"} 3\n"
      "a{core=\"1\",path=\"ring\"} 4.5e2 1700000000000\n"
      "a{path=\"inline\",core=\"1\"} 1\n"
      "\n"
      "b 7\r\n");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->Sum("a"), 454);
  EXPECT_EQ(page->Sum("a", {{"core", "1"}}), 451);
  EXPECT_EQ(page->Sum("a", {{"core", "1"}, {"path", "ring"}}), 450);
  EXPECT_EQ(page->Sum("b"), 7);
  EXPECT_EQ(page->Sum("a", {{"core", "2"}}), std::nullopt);
  EXPECT_EQ(page->Sum("c"), std::nullopt);
  EXPECT_EQ(page->All("a").size(), 3u);
  EXPECT_EQ(page->Label("a", "path"), "ring");
  EXPECT_EQ(page->Label("b", "path"), "");
}

TEST(MetricsPageTest, LabelsMayHaveAnything) {
  const auto page = MetricsPage::Parse(R"(a{x="say \"so\" {1,2} \\ \n",y=""} +Inf
b{} NaN
c -Inf)");
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->Label("a", "x"), "say \"so\" {1,2} \\ \n");
  EXPECT_TRUE(std::isinf(*page->Sum("a")));
  EXPECT_TRUE(std::isnan(*page->Sum("b")));
  EXPECT_LT(*page->Sum("c"), 0);
}

TEST(MetricsPageTest, ALineThatIsNoSampleIsNamed) {
  for (const char* text : {"<html>", "a", "a{", "a{x} 1", "a{x=} 1", "a{x=\"1} 1", "a{x=\"\\",
                           "{} 1", "a b", "a{x=\"1\"", "a{=\"1\"} 1"}) {
    const auto page = MetricsPage::Parse(text);
    ASSERT_FALSE(page.ok()) << text;
    EXPECT_NE(page.status().message().find(text), std::string::npos) << page.status();
  }
}

}  // namespace
}  // namespace ringtail::top
