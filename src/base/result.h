// Result<T>: what every function returns whose failure a user, disk, network or
// image can cause. Bugs are asserted instead. Exceptions of third-party code
// stop inside the façade that calls it.
#pragma once

#include <tl/expected.hpp>
#include <utility>

#include "base/error.h"

namespace kasane {

template <class T = void>
class [[nodiscard]] Result : public tl::expected<T, Error> {
  using Base = tl::expected<T, Error>;

 public:
  Result(T value) : Base(std::move(value)) {}                     // NOLINT: implicit on purpose
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}  // NOLINT
  T take() && { return std::move(**this); }  // REQUIRES: has_value()
};

template <>
class [[nodiscard]] Result<void> : public tl::expected<void, Error> {
  using Base = tl::expected<void, Error>;

 public:
  Result() = default;
  Result(Error error) : Base(tl::unexpect, std::move(error)) {}  // NOLINT
  void take() && {}
};

#define KASANE_CONCAT_(a, b) a##b
#define KASANE_CONCAT(a, b) KASANE_CONCAT_(a, b)

// auto x = TRY(f());   returns the error of f() from the calling function. May be nested.
#define TRY(expression) KASANE_TRY_(KASANE_CONCAT(kasane_try_, __COUNTER__), expression)
#define KASANE_TRY_(result, expression)             \
  __extension__({                                   \
    auto result = (expression);                     \
    if (!result) return std::move(result.error());  \
    std::move(result).take();                       \
  })

// auto x = TRY_CONTEXT(f(), "load config " + name);   the same with one more frame.
#define TRY_CONTEXT(expression, context_text) \
  KASANE_TRY_CONTEXT_(KASANE_CONCAT(kasane_try_, __COUNTER__), expression, context_text)
#define KASANE_TRY_CONTEXT_(result, expression, context_text)             \
  __extension__({                                                         \
    auto result = (expression);                                           \
    if (!result) return std::move(result.error()).context(context_text);  \
    std::move(result).take();                                             \
  })

}  // namespace kasane
