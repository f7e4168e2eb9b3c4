// Addresses of TCP, and the first step of a connection to one.
//
// Threading: any thread. Resolving blocks where a host name is looked up.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace millrace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

// host:port, or [v6]:port.
std::string HostAndPort(std::string_view host, std::string_view port);

// Of such a text. All addresses of the host, at least one, in the order of preference; a
// server may listen on some of them only. kUnavailable where the host is not known.
absl::StatusOr<std::vector<SocketAddress>> ResolveAddresses(const std::string& text);
// The first one.
absl::StatusOr<SocketAddress> ResolveAddress(const std::string& text);

// A socket that does not block and is being connected; the caller closes it. Its first read or
// write after the connection failed says why.
absl::StatusOr<int> BeginConnect(const SocketAddress& address);

}  // namespace millrace
