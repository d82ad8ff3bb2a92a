// Early return on error, the one macro pair of the code base.
//   RT_RETURN_IF_ERROR(status_expression);          in a function returning Status or StatusOr
//   RT_ASSIGN_OR_RETURN(auto x, statusor_expression);
// In coroutines: RT_CO_RETURN_IF_ERROR and RT_CO_ASSIGN_OR_RETURN.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define RT_CONCAT_INNER(a, b) a##b
#define RT_CONCAT(a, b) RT_CONCAT_INNER(a, b)

#define RT_RETURN_WITH(return_word, expression)                      \
  do {                                                               \
    absl::Status rt_status = (expression);                           \
    if (__builtin_expect(!rt_status.ok(), 0)) return_word rt_status; \
  } while (false)

#define RT_ASSIGN_WITH(return_word, result, declaration, expression)             \
  auto result = (expression);                                                    \
  if (__builtin_expect(!result.ok(), 0)) return_word std::move(result).status(); \
  declaration = *std::move(result)

#define RT_RETURN_IF_ERROR(expression) RT_RETURN_WITH(return, expression)
#define RT_CO_RETURN_IF_ERROR(expression) RT_RETURN_WITH(co_return, expression)
#define RT_ASSIGN_OR_RETURN(declaration, expression) \
  RT_ASSIGN_WITH(return, RT_CONCAT(rt_result_, __LINE__), declaration, expression)
#define RT_CO_ASSIGN_OR_RETURN(declaration, expression) \
  RT_ASSIGN_WITH(co_return, RT_CONCAT(rt_result_, __LINE__), declaration, expression)
