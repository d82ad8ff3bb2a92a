// The part of the page that shows one family.
#pragma once

#include <string>
#include <vector>

#include "perf/lab/result.h"

namespace ringtail::lab {

// "Writing to files"; the family's own name where this does not know it.
std::string FamilyTitle(const std::string& family);

// Charts, then the tables. `id` is unique in the page and begins those of the charts.
std::string FamilyHtml(const std::string& id, const std::string& family,
                       const std::vector<const GroupResult*>& groups);

}  // namespace ringtail::lab
