// Files of the operating system. Private to runtime/base.
#pragma once

#include <memory>

#include "runtime/base/env.h"

namespace millrace {

std::unique_ptr<Disk> MakePosixDisk();

}  // namespace millrace
