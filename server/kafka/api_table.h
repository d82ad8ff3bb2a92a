// Which APIs and versions this broker offers: what ApiVersions tells, and what is dispatched.
#pragma once

#include <cstdint>
#include <span>

#include "server/kafka/session.h"

namespace ringtail::kafka {

struct Api {
  int16_t key;
  int16_t version_min;  // as advertised
  int16_t version_max;
  int16_t version_first;  // the lowest that is really served
  Session::Handler handler;
};

std::span<const Api> OfferedApis();
// nullptr: not offered.
const Api* FindApi(int16_t key);

}  // namespace ringtail::kafka
