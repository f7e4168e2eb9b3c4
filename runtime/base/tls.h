// TLS: keys and certificates of connections between processes in files, those of connections to
// other servers in memory, and encrypted streams over sockets that do not block. gRPC has its own
// (runtime/security).
//
// Threading: contexts from any thread; a stream belongs to one thread at a time.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/secret.h"

namespace millrace {

// PEM files. They are read again when they change, so that certificates can be renewed while the
// program runs.
struct TlsFiles {
  std::string certificate;  // Of this process, with what leads from it to the CA.
  std::string key;
  std::string ca;  // Whose certificates other processes must have.
  bool has_certificate() const { return !certificate.empty() || !key.empty(); }
  bool operator==(const TlsFiles&) const = default;
};

// That what is named can be read, and that the key belongs to the certificate; for a clear error at
// the start.
absl::Status CheckTlsFiles(const TlsFiles& files);

// A socket's bytes.
class ByteStream {
 public:
  enum class Result { kSome, kWouldBlock, kFailed };
  struct Outcome {
    Result result;
    size_t bytes = 0;     // kSome: at least one.
    absl::Status status;  // kFailed; kUnavailable when the other side closed the connection.
  };
  virtual ~ByteStream() = default;
  virtual Outcome Read(char* to, size_t size) = 0;
  // At least a part of what `parts` name. After kWouldBlock the same bytes must be offered again.
  virtual Outcome Write(const iovec* parts, int count) = 0;
};

// `fd` stays the caller's.
std::unique_ptr<ByteStream> MakePlainStream(int fd);

// For processes of one kind that talk among themselves: both sides need a certificate of the CA for
// the same name (common name of the subject). So another client of the CA cannot take part.
class TlsContext {
 public:
  enum class Side { kConnecting, kAccepting };

  static absl::StatusOr<std::unique_ptr<TlsContext>> Make(TlsFiles files);
  ~TlsContext();
  // The handshake is made by the first reads and writes; `fd` stays the caller's.
  std::unique_ptr<ByteStream> MakeStream(int fd, Side side);

 private:
  struct Parts;
  explicit TlsContext(std::unique_ptr<Parts> parts);
  const std::unique_ptr<Parts> parts_;
};

// What a client of other servers needs; PEM text, not files.
struct TlsClientOptions {
  std::string ca;           // Empty: those of the system.
  std::string certificate;  // Of the client, with what leads from it to the CA; may be empty.
  Secret key;
  Secret key_password;
  bool verify_peer = true;
  bool verify_name = true;  // That the certificate is for the host.
};

// For connections to servers that have nothing to do with us.
//
// Threading: any thread.
class TlsClient {
 public:
  // kInvalidArgument says which text cannot be used.
  static absl::StatusOr<std::unique_ptr<TlsClient>> Make(const TlsClientOptions& options);
  ~TlsClient();
  // To `host`, a name or an IP address, as with TlsContext.
  std::unique_ptr<ByteStream> MakeStream(int fd, const std::string& host);

 private:
  struct Parts;
  explicit TlsClient(std::unique_ptr<Parts> parts);
  const std::unique_ptr<Parts> parts_;
};

}  // namespace millrace
