#include "runtime/base/socket_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/base/text.h"

namespace millrace {

std::string HostAndPort(std::string_view host, std::string_view port) {
  const bool is_v6 = host.find(':') != host.npos;
  return is_v6 ? Concat("[", host, "]:", port) : Concat(host, ":", port);
}

absl::StatusOr<std::vector<SocketAddress>> ResolveAddresses(const std::string& text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError("address without a port: " + text);
  }
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), text.c_str() + colon + 1, &hints, &found);
      error != 0) {
    return absl::UnavailableError("cannot resolve " + text + ": " + gai_strerror(error));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    SocketAddress& address = addresses.emplace_back();
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
  }
  freeaddrinfo(found);
  return addresses;
}

absl::StatusOr<SocketAddress> ResolveAddress(const std::string& text) {
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<SocketAddress> all, ResolveAddresses(text));
  return all[0];
}

absl::StatusOr<int> BeginConnect(const SocketAddress& address) {
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return StatusFromErrno(errno, "cannot make a socket");
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0 &&
      errno != EINPROGRESS) {
    const int error_number = errno;
    close(fd);
    return StatusFromErrno(error_number, "cannot connect");
  }
  return fd;
}

}  // namespace millrace
