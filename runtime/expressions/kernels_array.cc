// Arrays. An element is its bytes: equal elements have equal ones, and theirs is the order of
// values (keys.h), so most functions never decode anything.
#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "runtime/columns/arrays.h"
#include "runtime/columns/keys.h"
#include "runtime/expressions/text.h"
#include "runtime/expressions/text_kernels.h"
#include "runtime/expressions/value.h"

namespace millrace::expressions {
namespace {

using Elements = std::vector<std::string_view>;

void Split(const ArrayElement& element, std::string_view array, Elements& out) {
  out.clear();
  while (!array.empty()) out.push_back(TakeElement(element, array));
}

int64_t RowOf(const Value& value, int64_t row) { return value.scalar ? 0 : row; }

// `f(row, out)` appends one value, for rows where none of the first `strict` arguments is NULL; the
// others are NULL.
template <typename F>
Value BuildLoop(const KernelInput& in, DataType type, size_t strict, F f) {
  const std::span<const Value> needed = in.arguments.first(strict);
  if (AnyNullScalar(needed)) return NullScalar(type);
  const Validity validity = IntersectValidity(needed, in.rows);
  ColumnBuilder out(type, in.rows);
  for (int64_t row = 0; row < in.rows; ++row) {
    if (validity.IsValid(row)) {
      f(row, out);
    } else {
      out.AppendNull();
    }
  }
  return {out.Finish()};
}

// The same for arrays: `f(row, bytes)` makes the bytes of one.
template <typename F>
Value ArrayLoop(const KernelInput& in, DataType type, size_t strict, F f) {
  std::string bytes;
  return BuildLoop(in, type, strict, [&](int64_t row, ColumnBuilder& out) {
    bytes.clear();
    f(row, bytes);
    if (bytes.size() <= StringWriter::kValueBytesMax &&
        static_cast<size_t>(out.string_bytes()) + bytes.size() <= StringWriter::kColumnBytesMax) {
      out.AppendString(bytes);
      return;
    }
    out.AppendNull();
    in.errors.entries.push_back({static_cast<int32_t>(row), "the result is longer than 16 MiB"});
  });
}

// Functions of the elements of one array, and perhaps of one element, to the bytes of an array.
template <typename F>
BoundKernel ElementsToArray(const KernelRequest& request, F f) {
  return {[type = request.result, f](const KernelInput& in) {
            const Argument array(in.arguments[0]);
            Elements elements;
            std::string needle;
            return ArrayLoop(in, type, 1, [&](int64_t row, std::string& bytes) {
              Split(type.element(), array.Text(row), elements);
              needle.clear();
              if (in.arguments.size() > 1) {
                AppendKeyValue(in.arguments[1].column, RowOf(in.arguments[1], row), needle);
              }
              f(elements, needle, bytes);
            });
          },
          true};
}

// The place of an element, from 1; 0: it is not there.
int64_t PlaceOf(const Elements& elements, std::string_view needle) {
  const auto found = std::find(elements.begin(), elements.end(), needle);
  return found == elements.end() ? 0 : found - elements.begin() + 1;
}

template <typename F>
BoundKernel PlaceKernel(const KernelRequest& request, F append) {
  return {[array_type = request.types[0], type = request.result, append](const KernelInput& in) {
    const Argument array(in.arguments[0]);
    Elements elements;
    std::string needle;
    return BuildLoop(in, type, 1, [&](int64_t row, ColumnBuilder& out) {
      Split(array_type.element(), array.Text(row), elements);
      needle.clear();
      AppendKeyValue(in.arguments[1].column, RowOf(in.arguments[1], row), needle);
      append(PlaceOf(elements, needle), out);
    });
  }};
}

// One element of each array, or NULL: `pick(elements, row)` gives its index, or -1.
template <typename F>
Value PickLoop(const KernelInput& in, DataType array_type, DataType type, F pick) {
  const Argument array(in.arguments[0]);
  Elements elements;
  return BuildLoop(in, type, in.arguments.size(), [&](int64_t row, ColumnBuilder& out) {
    Split(array_type.element(), array.Text(row), elements);
    const int64_t at = pick(elements, row);
    if (at < 0) {
      out.AppendNull();
    } else {
      DecodeElement(array_type.element(), elements[static_cast<size_t>(at)], {&out, 1});
    }
  });
}

// The greatest or least that is not NULL.
template <bool kGreatest>
BoundKernel Extreme(const KernelRequest& request) {
  return {[array_type = request.types[0], type = request.result](const KernelInput& in) {
    return PickLoop(in, array_type, type, [](const Elements& elements, int64_t) {
      int64_t best = -1;
      for (size_t i = 0; i < elements.size(); ++i) {
        if (IsNullElement(elements[i])) continue;
        const bool better =
            best < 0 || (kGreatest ? elements[i] > elements[static_cast<size_t>(best)]
                                   : elements[i] < elements[static_cast<size_t>(best)]);
        if (better) best = static_cast<int64_t>(i);
      }
      return best;
    });
  }};
}

BoundKernel ElementAt(const KernelRequest& request) {
  return {[array_type = request.types[0], type = request.result](const KernelInput& in) {
    const Argument place(in.arguments[1]);
    return PickLoop(in, array_type, type, [&](const Elements& elements, int64_t row) {
      const int64_t at = place.Int(row);
      return at >= 1 && at <= static_cast<int64_t>(elements.size()) ? at - 1 : -1;
    });
  }};
}

BoundKernel Construct(const KernelRequest& request) {
  return {[type = request.result](const KernelInput& in) {
            return ArrayLoop(in, type, 0, [&](int64_t row, std::string& bytes) {
              for (const Value& value : in.arguments) {
                AppendKeyValue(value.column, RowOf(value, row), bytes);
              }
            });
          },
          true};
}

BoundKernel ConcatArrays(const KernelRequest& request) {
  return {[type = request.result](const KernelInput& in) {
            const Arguments arrays(in.arguments.begin(), in.arguments.end());
            return ArrayLoop(in, type, arrays.size(), [&](int64_t row, std::string& bytes) {
              for (const Argument& array : arrays) bytes += array.Text(row);
            });
          },
          true};
}

BoundKernel Cardinality(const KernelRequest& request) {
  return {[array_type = request.types[0]](const KernelInput& in) {
    const Argument array(in.arguments[0]);
    return FixedLoop<int32_t>(in, TypeKind::kInt32, [&](int64_t row, int32_t& out, std::string&) {
      out = static_cast<int32_t>(CountElements(array_type.element(), array.Text(row)));
      return RowOutcome::kValue;
    });
  }};
}

// The elements of all rows become text at once, by the kernel of CAST.
BoundKernel JoinElements(const KernelRequest& request) {
  const DataType held = request.types[0].element().fields[0].type;
  Kernel cast;
  if (held != TypeKind::kString) {
    cast = MakeCastKernel(held, TypeKind::kString, /*try_cast=*/false).run;
  }
  return {[cast = std::move(cast)](const KernelInput& in) {
            if (AnyNullScalar(in.arguments)) return NullScalar(TypeKind::kString);
            const Arguments arguments(in.arguments.begin(), in.arguments.end());
            const FlatArrays flat(in.arguments[0].column);
            Column texts = flat.columns[0];
            if (cast && texts.length() > 0) {
              const Value elements{std::move(texts)};
              RowErrors none;  // Every value has a text.
              texts = cast({{&elements, 1}, elements.column.length(), none}).column;
            }
            return StringLoop(in, TypeKind::kString,
                              [&](int64_t row, StringWriter& writer, std::string&) {
                                const int64_t array = RowOf(in.arguments[0], row);
                                bool first = true;
                                for (int32_t i = flat.begin(array); i < flat.end(array); ++i) {
                                  const bool null = texts.IsNull(i);
                                  if (null && arguments.size() < 3) continue;
                                  if (!first) writer.Append(arguments[1].Text(row));
                                  first = false;
                                  writer.Append(null ? arguments[2].Text(row) : texts.StringAt(i));
                                }
                                return RowOutcome::kValue;
                              });
          },
          true};
}

BoundKernel SplitText(const KernelRequest& request) {
  return {[type = request.result](const KernelInput& in) {
            const Argument text(in.arguments[0]), separator(in.arguments[1]);
            ColumnBuilder part(TypeKind::kString);
            return ArrayLoop(in, type, 2, [&](int64_t row, std::string& bytes) {
              const auto append = [&](std::string_view one) {
                part.AppendString(one);
                AppendKeyValue(part.Peek(), 0, bytes);
                part.Truncate(0);
              };
              std::string_view rest = text.Text(row);
              const std::string_view between = separator.Text(row);
              if (between.empty()) {
                while (!rest.empty()) {
                  const std::string_view character = Characters(rest, 0, 1);
                  append(character);
                  rest.remove_prefix(character.size());
                }
                return;
              }
              while (true) {
                const size_t at = rest.find(between);
                append(rest.substr(0, at));
                if (at == std::string_view::npos) return;
                rest.remove_prefix(at + between.size());
              }
            });
          },
          true};
}

void AppendAll(const Elements& elements, std::string& bytes) {
  for (const std::string_view element : elements) bytes += element;
}

}  // namespace

absl::StatusOr<BoundKernel> MakeArrayKernel(const KernelRequest& request) {
  const std::string_view name = request.name;
  if (name == "array") return Construct(request);
  if (name == "array_append") {
    return ElementsToArray(request,
                           [](const Elements& elements, std::string_view more, std::string& bytes) {
                             AppendAll(elements, bytes);
                             bytes += more;
                           });
  }
  if (name == "array_concat") return ConcatArrays(request);
  if (name == "array_contains") {
    return PlaceKernel(request,
                       [](int64_t place, ColumnBuilder& out) { out.AppendBool(place > 0); });
  }
  if (name == "array_distinct") {
    return ElementsToArray(request,
                           [](const Elements& elements, std::string_view, std::string& bytes) {
                             std::unordered_set<std::string_view> seen;
                             for (const std::string_view element : elements) {
                               if (seen.insert(element).second) bytes += element;
                             }
                           });
  }
  if (name == "array_join") return JoinElements(request);
  if (name == "array_max") return Extreme<true>(request);
  if (name == "array_min") return Extreme<false>(request);
  if (name == "array_position") {
    return PlaceKernel(request, [](int64_t place, ColumnBuilder& out) {
      out.AppendInt32(static_cast<int32_t>(place));
    });
  }
  if (name == "array_remove") {
    return ElementsToArray(
        request, [](const Elements& elements, std::string_view needle, std::string& bytes) {
          for (const std::string_view element : elements) {
            if (element != needle) bytes += element;
          }
        });
  }
  if (name == "array_reverse") {
    return ElementsToArray(request, [](Elements& elements, std::string_view, std::string& bytes) {
      std::reverse(elements.begin(), elements.end());
      AppendAll(elements, bytes);
    });
  }
  if (name == "array_sort") {
    return ElementsToArray(request, [](Elements& elements, std::string_view, std::string& bytes) {
      std::sort(elements.begin(), elements.end());
      AppendAll(elements, bytes);
    });
  }
  if (name == "cardinality") return Cardinality(request);
  if (name == "element_at") return ElementAt(request);
  if (name == "split") return SplitText(request);
  return BoundKernel{};
}

}  // namespace millrace::expressions
