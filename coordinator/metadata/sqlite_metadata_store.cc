#include "coordinator/metadata/sqlite_metadata_store.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/file.h>
#include <unistd.h>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "runtime/base/status.h"
#include "runtime/base/status_macros.h"

namespace millrace {
namespace {

// PRAGMA user_version of files that this build writes, and the newest that it reads.
constexpr int kSchemaVersion = 1;
constexpr int kApplicationId = 0x4D524D44;  // "MRMD".

// An advisory lock on a file; released by the kernel when the process ends, however it ends.
class FolderLock {
 public:
  FolderLock() = default;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() {
    if (file_ >= 0) close(file_);
  }

  absl::Status Take(const std::string& folder) {
    const std::string path = folder + "/coordinator.lock";
    file_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) return StatusFromErrno(errno, absl::StrCat("cannot open ", path));
    if (flock(file_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
    if (errno != EWOULDBLOCK) return StatusFromErrno(errno, absl::StrCat("cannot lock ", path));
    return absl::FailedPreconditionError(
        absl::StrCat("another coordinator is running on this data folder: ", folder,
                     "; stop it first, or give this one another folder"));
  }

 private:
  int file_ = -1;
};

absl::Status StatusFromSqlite(sqlite3* database, int code, const std::string& attempted) {
  const std::string message = absl::StrCat(
      attempted, ": ", database == nullptr ? "out of memory" : sqlite3_errmsg(database));
  switch (code & 0xff) {
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(message);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return absl::DataLossError(message);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(message);
    default:
      return absl::UnavailableError(message);
  }
}

// A prepared statement, reset when it goes out of scope of one use.
class Statement {
 public:
  Statement(sqlite3* database, const char* sql) : database_(database) {
    code_ = sqlite3_prepare_v2(database, sql, -1, &statement_, nullptr);
  }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement() { sqlite3_finalize(statement_); }

  Statement& Bind(const std::string& text) {
    if (code_ == SQLITE_OK) {
      code_ = sqlite3_bind_blob64(statement_, ++bound_, text.data() == nullptr ? "" : text.data(),
                                  text.size(), SQLITE_STATIC);
    }
    return *this;
  }
  Statement& Bind(uint64_t number) {
    if (code_ == SQLITE_OK) {
      code_ = sqlite3_bind_int64(statement_, ++bound_, static_cast<sqlite3_int64>(number));
    }
    return *this;
  }
  // True while there is a row.
  absl::StatusOr<bool> Step(const std::string& attempted) {
    if (code_ == SQLITE_OK) code_ = sqlite3_step(statement_);
    const int code = std::exchange(code_, SQLITE_OK);
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    return StatusFromSqlite(database_, code, attempted);
  }
  std::string Text(int column) const {
    const void* bytes = sqlite3_column_blob(statement_, column);
    const int size = sqlite3_column_bytes(statement_, column);
    return bytes == nullptr
               ? std::string()
               : std::string(static_cast<const char*>(bytes), static_cast<size_t>(size));
  }
  uint64_t Number(int column) const {
    return static_cast<uint64_t>(sqlite3_column_int64(statement_, column));
  }

 private:
  sqlite3* const database_;
  sqlite3_stmt* statement_ = nullptr;
  int code_;
  int bound_ = 0;
};

class SqliteMetadataStore final : public MetadataStore {
 public:
  ~SqliteMetadataStore() override { sqlite3_close(database_); }

  absl::Status Open(const std::string& folder);

  absl::StatusOr<uint64_t> CreateIfAbsent(const std::string& key, const std::string& value,
                                          const Guards& guards) override;
  absl::StatusOr<uint64_t> CompareAndSwap(const std::string& key, uint64_t version,
                                          const std::string& value, const Guards& guards) override;
  absl::StatusOr<MetadataEntry> Get(const std::string& key) override;
  absl::StatusOr<std::vector<MetadataEntry>> List(const std::string& prefix) override;
  absl::Status Delete(const std::string& key, const Guards& guards) override;
  bool exclusive() const override { return true; }

 private:
  absl::Status Execute(const char* sql, const std::string& attempted)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<int> Pragma(const char* name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status CheckSchema(const std::string& path) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Runs `change` in one transaction. A failed COMMIT is kUnknown.
  template <typename Change>
  absl::Status Transact(const Guards& guards, Change change) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status CheckGuards(const Guards& guards) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<MetadataEntry> Find(const std::string& key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<uint64_t> NextRevision() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<uint64_t> Put(const std::string& key, const std::string& value)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  FolderLock lock_;
  absl::Mutex mutex_;
  sqlite3* database_ ABSL_PT_GUARDED_BY(mutex_) = nullptr;
};

absl::Status SqliteMetadataStore::Open(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return StatusFromErrno(error.value(), absl::StrCat("cannot make the data folder ", folder));
  }
  MILLRACE_RETURN_IF_ERROR(lock_.Take(folder));
  const std::string path = folder + "/metadata.sqlite";
  absl::MutexLock lock(&mutex_);
  const int code =
      sqlite3_open_v2(path.c_str(), &database_,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) {
    return StatusFromSqlite(database_, code, absl::StrCat("cannot open ", path));
  }
  MILLRACE_RETURN_IF_ERROR(CheckSchema(path));
  MILLRACE_RETURN_IF_ERROR(Execute("PRAGMA journal_mode=WAL", "cannot switch on the log"));
  MILLRACE_RETURN_IF_ERROR(Execute("PRAGMA synchronous=FULL", "cannot switch on syncing"));
  return Execute(
      "BEGIN IMMEDIATE;"
      "CREATE TABLE IF NOT EXISTS entries("
      "key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL) WITHOUT ROWID;"
      "CREATE TABLE IF NOT EXISTS revision(number INTEGER NOT NULL);"
      "INSERT INTO revision SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM revision);"
      "PRAGMA application_id=1297239364;"
      "PRAGMA user_version=1;"
      "COMMIT",
      "cannot make the tables");
}

absl::Status SqliteMetadataStore::CheckSchema(const std::string& path) {
  static_assert(kApplicationId == 1297239364 && kSchemaVersion == 1, "written out in Open");
  MILLRACE_ASSIGN_OR_RETURN(const int application, Pragma("PRAGMA application_id"));
  MILLRACE_ASSIGN_OR_RETURN(const int version, Pragma("PRAGMA user_version"));
  if (application != 0 && application != kApplicationId) {
    return absl::FailedPreconditionError(absl::StrCat("not a Millrace metadata file: ", path));
  }
  if (version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "metadata file has schema version ", version, ", this coordinator reads up to ",
        kSchemaVersion, ": ", path, "; start a newer coordinator"));
  }
  return absl::OkStatus();
}

absl::Status SqliteMetadataStore::Execute(const char* sql, const std::string& attempted) {
  const int code = sqlite3_exec(database_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : StatusFromSqlite(database_, code, attempted);
}

absl::StatusOr<int> SqliteMetadataStore::Pragma(const char* name) {
  Statement statement(database_, name);
  MILLRACE_ASSIGN_OR_RETURN(const bool row, statement.Step("cannot read the schema version"));
  return row ? static_cast<int>(statement.Number(0)) : 0;
}

absl::StatusOr<MetadataEntry> SqliteMetadataStore::Find(const std::string& key) {
  Statement statement(database_, "SELECT value, version FROM entries WHERE key = ?");
  MILLRACE_ASSIGN_OR_RETURN(const bool row, statement.Bind(key).Step("cannot read metadata"));
  if (!row) return absl::NotFoundError(absl::StrCat("no such key: ", key));
  return MetadataEntry{.key = key, .value = statement.Text(0), .version = statement.Number(1)};
}

absl::Status SqliteMetadataStore::CheckGuards(const Guards& guards) {
  for (const MetadataGuard& guard : guards) {
    absl::StatusOr<MetadataEntry> entry = Find(guard.key);
    if (!entry.ok() && !absl::IsNotFound(entry.status())) return entry.status();
    if (!entry.ok() || entry->version != guard.version) {
      return absl::AbortedError(absl::StrCat("guard has another version: key=", guard.key));
    }
  }
  return absl::OkStatus();
}

template <typename Change>
absl::Status SqliteMetadataStore::Transact(const Guards& guards, Change change) {
  absl::MutexLock lock(&mutex_);
  MILLRACE_RETURN_IF_ERROR(Execute("BEGIN IMMEDIATE", "cannot begin a metadata write"));
  absl::Status status = CheckGuards(guards);
  if (status.ok()) status = change();
  if (!status.ok()) {
    // Nothing is left open: a failed ROLLBACK means that SQLite has rolled back already.
    (void)Execute("ROLLBACK", "cannot roll back");
    return status;
  }
  absl::Status committed = Execute("COMMIT", "cannot commit a metadata write");
  if (committed.ok()) return committed;
  (void)Execute("ROLLBACK", "cannot roll back");
  return absl::UnknownError(committed.message());
}

absl::StatusOr<uint64_t> SqliteMetadataStore::NextRevision() {
  Statement statement(database_, "UPDATE revision SET number = number + 1 RETURNING number");
  MILLRACE_ASSIGN_OR_RETURN(const bool row, statement.Step("cannot count metadata writes"));
  if (!row) return absl::DataLossError("metadata file has lost its revision");
  const uint64_t revision = statement.Number(0);
  MILLRACE_RETURN_IF_ERROR(statement.Step("cannot count metadata writes").status());
  return revision;
}

absl::StatusOr<uint64_t> SqliteMetadataStore::Put(const std::string& key,
                                                  const std::string& value) {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t version, NextRevision());
  Statement statement(database_,
                      "INSERT INTO entries(key, value, version) VALUES(?, ?, ?) ON CONFLICT(key) "
                      "DO UPDATE SET value = excluded.value, version = excluded.version");
  MILLRACE_RETURN_IF_ERROR(
      statement.Bind(key).Bind(value).Bind(version).Step("cannot write metadata").status());
  return version;
}

absl::StatusOr<uint64_t> SqliteMetadataStore::CreateIfAbsent(const std::string& key,
                                                             const std::string& value,
                                                             const Guards& guards) {
  MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(key, value));
  uint64_t version = 0;
  MILLRACE_RETURN_IF_ERROR(Transact(guards, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    absl::StatusOr<MetadataEntry> entry = Find(key);
    if (entry.ok()) return absl::AlreadyExistsError(absl::StrCat("key exists: ", key));
    if (!absl::IsNotFound(entry.status())) return entry.status();
    MILLRACE_ASSIGN_OR_RETURN(version, Put(key, value));
    return absl::OkStatus();
  }));
  return version;
}

absl::StatusOr<uint64_t> SqliteMetadataStore::CompareAndSwap(const std::string& key,
                                                             uint64_t version,
                                                             const std::string& value,
                                                             const Guards& guards) {
  MILLRACE_RETURN_IF_ERROR(CheckMetadataLimits(key, value));
  uint64_t written = 0;
  MILLRACE_RETURN_IF_ERROR(Transact(guards, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    MILLRACE_ASSIGN_OR_RETURN(const MetadataEntry entry, Find(key));
    if (entry.version != version) {
      return absl::AbortedError(absl::StrCat("another version is there: key=", key));
    }
    MILLRACE_ASSIGN_OR_RETURN(written, Put(key, value));
    return absl::OkStatus();
  }));
  return written;
}

absl::StatusOr<MetadataEntry> SqliteMetadataStore::Get(const std::string& key) {
  absl::MutexLock lock(&mutex_);
  return Find(key);
}

absl::StatusOr<std::vector<MetadataEntry>> SqliteMetadataStore::List(const std::string& prefix) {
  absl::MutexLock lock(&mutex_);
  const std::string end = EndOfPrefix(prefix);
  Statement statement(database_, end.empty()
                                     ? "SELECT key, value, version FROM entries WHERE key >= ? "
                                       "ORDER BY key"
                                     : "SELECT key, value, version FROM entries WHERE key >= ? AND "
                                       "key < ? ORDER BY key");
  statement.Bind(prefix);
  if (!end.empty()) statement.Bind(end);
  std::vector<MetadataEntry> found;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool row, statement.Step("cannot list metadata"));
    if (!row) return found;
    found.push_back(
        {.key = statement.Text(0), .value = statement.Text(1), .version = statement.Number(2)});
  }
}

absl::Status SqliteMetadataStore::Delete(const std::string& key, const Guards& guards) {
  return Transact(guards, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS -> absl::Status {
    Statement statement(database_, "DELETE FROM entries WHERE key = ?");
    return statement.Bind(key).Step("cannot delete metadata").status();
  });
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetadataStore>> OpenSqliteMetadataStore(const std::string& folder) {
  auto store = std::make_unique<SqliteMetadataStore>();
  MILLRACE_RETURN_IF_ERROR(store->Open(folder));
  return store;
}

}  // namespace millrace
