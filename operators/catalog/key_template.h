// How the name of a key is made of columns: the text "shop:{region}:{number}".
//
// Threading: immutable.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/columns/types.h"

namespace millrace {

struct KeyTemplate {
  struct Piece {
    bool is_column = false;
    std::string text;  // As it stands, or the name of the column.
  };
  std::vector<Piece> pieces;

  // {{ and }} stand for one brace. kInvalidArgument: a brace without its other one, a column
  // without a name, no column at all, or two columns with nothing between them, whose values could
  // not be told apart.
  static absl::StatusOr<KeyTemplate> Parse(std::string_view text);
  // The template of a key that is the value of one column.
  static KeyTemplate OfColumn(std::string_view column);
};

// Whether each value of the type has one text, so that it can be a part of the name of a key.
bool CanNameKey(TypeKind kind);

}  // namespace millrace
