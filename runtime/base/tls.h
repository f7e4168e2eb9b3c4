// TLS of connections between processes: keys and certificates in files, and encrypted streams over
// sockets that do not block. gRPC has its own (runtime/security).
//
// Threading: TlsContext from any thread; a stream belongs to one thread at a time.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

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

}  // namespace millrace
