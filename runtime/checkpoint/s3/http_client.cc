#include "runtime/checkpoint/s3/http_client.h"

#include <curl/curl.h>

#include <utility>

#include "absl/base/call_once.h"
#include "runtime/base/check.h"
#include "runtime/base/text.h"

namespace millrace {
namespace {

constexpr size_t kHeadersMax = 200;
constexpr size_t kIdleMax = 32;  // Handles with open connections.

// One answer as it comes in.
struct Exchange {
  CURL* curl;
  const HttpRequest& request;
  const absl::Notification& stopped;
  HttpResponse response;
  absl::Status failed;
  bool head_ended = false;  // libcurl takes headers that are cut off for all of them.
};

size_t OnHeader(char* bytes, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view line(bytes, size * count);
  if (line.starts_with("HTTP/")) {
    exchange.response.headers.clear();  // Those of an interim answer.
    exchange.head_ended = false;
    return line.size();
  }
  if (StripSpaces(line).empty()) exchange.head_ended = true;
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return line.size();
  if (exchange.response.headers.size() >= kHeadersMax) return 0;
  exchange.response.headers[LowerAscii(line.substr(0, colon))] =
      StripSpaces(line.substr(colon + 1));
  return line.size();
}

size_t OnBody(char* bytes, size_t size, size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view piece(bytes, size * count);
  long status = 0;
  curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
  if (exchange.request.sink && status >= 200 && status < 300) {
    exchange.response.status = static_cast<int>(status);
    exchange.failed = exchange.request.sink(exchange.response, piece);
    return exchange.failed.ok() ? piece.size() : 0;
  }
  std::string& body = exchange.response.body;
  if (piece.size() > exchange.request.kept_bytes_max - body.size()) {
    exchange.failed = absl::InternalError(
        Concat("the answer has more than ", exchange.request.kept_bytes_max, " bytes"));
    return 0;
  }
  body.append(piece);
  return piece.size();
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Exchange*>(user)->stopped.HasBeenNotified() ? 1 : 0;
}

absl::Status StatusOf(CURLcode code, std::string_view detail, const HttpRequest& request) {
  const std::string text =
      Concat(request.method, " ", std::string_view(request.url).substr(0, 300), ": ",
             detail.empty() ? std::string_view(curl_easy_strerror(code)) : detail);
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return absl::CancelledError(text);
    case CURLE_OPERATION_TIMEDOUT:
      return absl::DeadlineExceededError(text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return absl::FailedPreconditionError(
          Concat(text, "; name the CA of the store's certificate by AWS_CA_BUNDLE"));
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return absl::InvalidArgumentError(text);
    default:
      return absl::UnavailableError(text);
  }
}

}  // namespace

struct HttpClient::Handle {
  CURL* curl = curl_easy_init();
  ~Handle() { curl_easy_cleanup(curl); }
};

std::string HttpResponse::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

HttpClient::HttpClient(HttpClientOptions options) : options_(std::move(options)) {
  static absl::once_flag once;
  absl::call_once(once, [] { MILLRACE_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK); });
}

HttpClient::~HttpClient() = default;

void HttpClient::Stop() { stopped_.Notify(); }

bool HttpClient::Pause(absl::Duration duration) {
  return !stopped_.WaitForNotificationWithTimeout(duration);
}

std::unique_ptr<HttpClient::Handle> HttpClient::Take() {
  absl::MutexLock lock(&mutex_);
  if (idle_.empty()) return std::make_unique<Handle>();
  std::unique_ptr<Handle> handle = std::move(idle_.back());
  idle_.pop_back();
  return handle;
}

absl::StatusOr<HttpResponse> HttpClient::Do(const HttpRequest& request) {
  std::unique_ptr<Handle> handle = Take();
  CURL* curl = handle->curl;
  if (curl == nullptr) return absl::ResourceExhaustedError("cannot make an HTTP request: memory");
  curl_easy_reset(curl);  // Keeps its connections.
  Exchange exchange{.curl = curl, .request = request, .stopped = stopped_};
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers(nullptr,
                                                                      &curl_slist_free_all);
  const auto add = [&headers](const std::string& line) {
    curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
    MILLRACE_CHECK(longer != nullptr);
    (void)headers.release();  // It is the beginning, or part, of the longer one.
    headers.reset(longer);
  };
  for (const auto& [name, value] : request.headers) add(Concat(name, ": ", value));
  add("Expect:");  // Without a round trip before the body.
  add("Content-Type: application/octet-stream");
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(absl::ToInt64Milliseconds(options_.connect_timeout)));
  // libcurl counts whole seconds here.
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   static_cast<long>(absl::ToInt64Seconds(options_.stall_timeout)));
  if (!options_.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
  if (request.method == "HEAD") {
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT" || request.method == "POST") {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
  }
  curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST,
                   request.method == "HEAD" ? nullptr : request.method.c_str());
  const CURLcode code = curl_easy_perform(curl);
  if (code != CURLE_OK) {
    // Its connection is in an unknown state: the handle goes with it.
    return exchange.failed.ok() ? StatusOf(code, detail, request) : exchange.failed;
  }
  if (!exchange.head_ended) {
    return absl::UnavailableError(Concat(request.method, " ",
                                         std::string_view(request.url).substr(0, 300),
                                         ": the answer is cut off"));
  }
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  exchange.response.status = static_cast<int>(status);
  absl::MutexLock lock(&mutex_);
  if (idle_.size() < kIdleMax) idle_.push_back(std::move(handle));
  return std::move(exchange.response);
}

}  // namespace millrace
