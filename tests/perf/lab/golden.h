// Texts beside those of testdata/.
#pragma once

#include <string>

namespace ringtail::lab {

// With RINGTAIL_UPDATE_GOLDEN=DIRECTORY it writes `text` there instead.
void ExpectGolden(const std::string& name, const std::string& text);

}  // namespace ringtail::lab
