// Frames over TCP, by one thread and epoll. Private to runtime/base.
//
// On the wire a frame is {u32 magic, u32 length} in little endian, then `length` bytes.
#pragma once

#include <memory>

#include "runtime/base/env.h"

namespace millrace {

std::unique_ptr<Network> MakeTcpNetwork();

}  // namespace millrace
