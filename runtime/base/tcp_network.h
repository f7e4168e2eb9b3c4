// Frames over TCP, by one thread and epoll, encrypted where a context is given. Private to
// runtime/base.
//
// On the wire a frame is {u32 magic, u32 length} in little endian, then `length` bytes.
#pragma once

#include <memory>

#include "runtime/base/env.h"
#include "runtime/base/tls.h"

namespace millrace {

// `tls` may be null.
std::unique_ptr<Network> MakeTcpNetwork(std::unique_ptr<TlsContext> tls = nullptr);

}  // namespace millrace
