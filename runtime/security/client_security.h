// How a client of the coordinator (a worker, the command) shows who it is and whom it trusts.
#pragma once

#include <string>

#include "runtime/base/tls.h"

namespace millrace {

struct ClientSecurity {
  bool tls = false;  // Also when `files` name something. Without a CA: those of the system.
  TlsFiles files;    // The certificate is for coordinators that ask for one.
  // What the coordinator's certificate must be for, where that is not the host that is dialled
  // (through a forwarded port).
  std::string server_name;
  // Sent with every call. The file is read for each, so that it can be replaced.
  std::string token, token_file;
  bool is_encrypted() const { return tls || !files.ca.empty() || files.has_certificate(); }
};

}  // namespace millrace
