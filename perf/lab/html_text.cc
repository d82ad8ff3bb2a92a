#include "perf/lab/html_text.h"

#include "absl/strings/str_replace.h"
#include "perf/lab/report_words.h"

namespace ringtail::lab {

std::string Escape(absl::string_view text) {
  return absl::StrReplaceAll(
      Printable(text),
      {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

}  // namespace ringtail::lab
