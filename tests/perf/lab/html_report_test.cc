#include "perf/lab/html_report.h"

#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "perf/lab/html_text.h"
#include "tests/perf/lab/sample.h"

namespace ringtail::lab {
namespace {

// What is wrong with a page, read far more strictly than browsers do: "" where all tags are closed
// in their order, attributes are quoted, ids are there once, and what refers to one finds it.
class Checker {
 public:
  explicit Checker(absl::string_view page) : rest_(page) {}

  std::string Check() {
    if (!Skip("<!DOCTYPE html>")) return "no doctype";
    while (error_.empty() && !rest_.empty()) {
      if (rest_[0] == '<') {
        Tag();
      } else {
        Content();
      }
    }
    if (error_.empty() && !open_.empty()) error_ = absl::StrCat("open: ", open_.back());
    for (const std::string& reference : references_) {
      if (error_.empty() && !ids_.contains(reference)) error_ = absl::StrCat("no id ", reference);
    }
    return error_;
  }

 private:
  bool Skip(absl::string_view text) {
    if (!absl::StartsWith(rest_, text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }

  std::string Take(absl::string_view ends) {
    const size_t size = std::min(rest_.find_first_of(ends), rest_.size());
    const std::string text(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return text;
  }

  void Fail(absl::string_view what) {
    if (error_.empty()) error_ = absl::StrCat(what, " before: ", rest_.substr(0, 80));
  }

  void References(absl::string_view text) {
    for (size_t at = text.find('&'); at != absl::string_view::npos; at = text.find('&', at + 1)) {
      const absl::string_view from = text.substr(at);
      if (!absl::StartsWith(from, "&amp;") && !absl::StartsWith(from, "&lt;") &&
          !absl::StartsWith(from, "&gt;") && !absl::StartsWith(from, "&quot;") &&
          !absl::StartsWith(from, "&#39;")) {
        Fail("a bare &");
      }
    }
  }

  void Content() {
    const std::string text = Take("<");
    if (absl::StrContains(text, ">")) Fail("a bare >");
    References(text);
  }

  void Tag() {
    Skip("<");
    if (Skip("/")) {
      const std::string name = Take(">");
      Skip(">");
      if (open_.empty() || open_.back() != name) return Fail(absl::StrCat("closed: ", name));
      return open_.pop_back();
    }
    const std::string name = Take(" />");
    if (name.empty()) return Fail("a tag without a name");
    while (Skip(" ")) Attribute();
    const bool closed = Skip("/");
    if (!Skip(">")) return Fail(absl::StrCat("a tag that does not end: ", name));
    if (closed || name == "meta" || name == "input") return;
    open_.push_back(name);
    if (name == "style" || name == "script") {
      rest_.remove_prefix(std::min(rest_.find("</"), rest_.size()));
    }
  }

  void Attribute() {
    const std::string name = Take("= />");
    if (!Skip("=")) {
      if (name != "hidden" && name != "open") Fail(absl::StrCat("no value of ", name));
      return;
    }
    if (!Skip("\"")) return Fail(absl::StrCat("not quoted: ", name));
    const std::string value = Take("\"");
    Skip("\"");
    if (absl::StrContains(value, "<")) Fail("a bare <");
    if (absl::StartsWith(name, "on")) Fail("a handler");
    if (name == "src" || (name == "href" && value[0] != '#')) Fail("refers outside");
    References(value);
    if (name == "id" && !ids_.insert(value).second) Fail(absl::StrCat("twice: ", value));
    if (name == "aria-labelledby") references_.insert(value);
    if (name == "href") references_.insert(value.substr(1));
  }

  absl::string_view rest_;
  std::vector<std::string> open_;
  std::set<std::string> ids_;
  std::set<std::string> references_;
  std::string error_;
};

std::string ErrorOf(const std::string& page) { return Checker(page).Check(); }

TEST(HtmlReportTest, TheCheckerFindsWhatIsWrong) {
  EXPECT_EQ(ErrorOf("<!DOCTYPE html><p id=\"a\"><b>x</b> &lt;</p>"), "");
  for (const char* bad :
       {"<p></p>", "<!DOCTYPE html><p>", "<!DOCTYPE html><p><b></p></b>",
        "<!DOCTYPE html><p a=b></p>", "<!DOCTYPE html>a & b", "<!DOCTYPE html><p onclick=\"\"></p>",
        "<!DOCTYPE html><p id=\"a\"></p><p id=\"a\"></p>", "<!DOCTYPE html><a href=\"#b\"></a>",
        "<!DOCTYPE html><a href=\"file.html\"></a>"}) {
    EXPECT_NE(ErrorOf(bad), "") << bad;
  }
}

TEST(HtmlReportTest, IsWellFormed) { EXPECT_EQ(ErrorOf(HtmlReport(Sample())), ""); }

TEST(HtmlReportTest, AnEmptyResult) {
  EXPECT_EQ(ErrorOf(HtmlReport(LabResult())), "");
  EXPECT_TRUE(absl::StrContains(HtmlReport(LabResult()), "Nothing was measured."));
}

TEST(HtmlReportTest, RefersToNothingOutside) {
  const std::string page = HtmlReport(Sample());
  for (const char* sign : {"http://", "https://", "url(", "@import", "src=", "<link", "<iframe"}) {
    EXPECT_FALSE(absl::StrContains(page, sign)) << sign;
  }
  EXPECT_TRUE(absl::StrContains(page, "default-src 'none'"));
}

TEST(HtmlReportTest, WhateverAResultSaysIsText) {
  const std::string bad = "</style></script><script>alert(1)</script>\"' onx='\" &amp;\x1b\xff";
  LabResult result = Sample();
  result.version = bad;
  result.machine = {{bad, bad}};
  result.notes = {bad};
  for (GroupResult& group : result.groups) {
    group.family = bad + group.family;
    for (Parameter& parameter : group.parameters) parameter.name = parameter.text = bad;
    for (PathResult& path : group.paths) {
      path.path += bad;
      if (!path.measured()) path.unavailable = bad;
    }
  }
  const std::string page = HtmlReport(result);
  EXPECT_EQ(ErrorOf(page), "");
  EXPECT_FALSE(absl::StrContains(page, "<script>alert"));
  EXPECT_TRUE(absl::StrContains(page, Escape(bad)));
}

TEST(HtmlReportTest, FiguresOfAnySize) {
  for (const double value : {0.0, 5e-324, 1e-12, 1e15, std::numeric_limits<double>::infinity(),
                             std::numeric_limits<double>::quiet_NaN(), -1.0}) {
    LabResult result = Sample();
    // One path beside others as they were, then all.
    for (const bool all : {false, true}) {
      for (PathResult& path : result.groups[0].paths) {
        if (!all && path.path != "ring") continue;
        for (auto& [figure, rounds] : path.rounds) rounds.assign(3, value);
      }
      const std::string page = HtmlReport(result);
      EXPECT_EQ(ErrorOf(page), "") << value;
      for (const char* none : {"=\"nan", "=\"inf", "=\"-nan", " nan", ",nan"}) {
        EXPECT_FALSE(absl::StrContains(page, none)) << value << none;
      }
    }
  }
}

TEST(HtmlReportTest, SaysWhatIsPartialAndUnavailable) {
  const std::string page = HtmlReport(Sample());
  EXPECT_TRUE(absl::StrContains(page, "class=\"banner\""));
  EXPECT_TRUE(absl::StrContains(page, "unavailable: this kernel does not know RWF_UNCACHED"));
  EXPECT_TRUE(absl::StrContains(page, "not reached"));
  LabResult whole = Sample();
  whole.partial = false;
  EXPECT_FALSE(absl::StrContains(HtmlReport(whole), "class=\"banner\""));
}

}  // namespace
}  // namespace ringtail::lab
