// Certificates for tests, made on the spot.
#pragma once

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "runtime/base/tls.h"

namespace millrace {

// A CA with a folder for what it signs.
class TestCa {
 public:
  TestCa() : key_(EVP_EC_gen("P-256"), &EVP_PKEY_free), certificate_(nullptr, &X509_free) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-tls-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    certificate_ = Sign("test CA", key_.get(), /*is_ca=*/true);
    Write(ca_file(), [&](FILE* file) { PEM_write_X509(file, certificate_.get()); });
  }
  ~TestCa() { std::filesystem::remove_all(folder_); }

  std::string ca_file() const { return folder_ + "/ca.pem"; }
  // Files FILE.pem and FILE.key for a process whose certificate has the common name `name` and is
  // good for 127.0.0.1; they are put in place at once.
  TlsFiles Make(const std::string& file, const std::string& name) {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"),
                                                                  &EVP_PKEY_free);
    const auto certificate = Sign(name, key.get(), /*is_ca=*/false);
    const TlsFiles files{.certificate = folder_ + "/" + file + ".pem",
                         .key = folder_ + "/" + file + ".key",
                         .ca = ca_file()};
    Write(files.key, [&](FILE* out) {
      PEM_write_PrivateKey(out, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    Write(files.certificate, [&](FILE* out) { PEM_write_X509(out, certificate.get()); });
    return files;
  }

 private:
  using CertificatePtr = std::unique_ptr<X509, decltype(&X509_free)>;

  CertificatePtr Sign(const std::string& name, EVP_PKEY* key, bool is_ca) {
    CertificatePtr made(X509_new(), &X509_free);
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial_);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 24 * 3600);
    X509_set_pubkey(made.get(), key);
    X509_NAME* const subject = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    X509* const issuer = is_ca ? made.get() : certificate_.get();
    X509_set_issuer_name(made.get(), X509_get_subject_name(issuer));
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, made.get(), nullptr, nullptr, 0);
    for (const auto& [id, value] :
         {std::pair(NID_basic_constraints, is_ca ? "critical,CA:TRUE" : "CA:FALSE"),
          std::pair(NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost")}) {
      X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, &context, id, value);
      X509_add_ext(made.get(), extension, -1);
      X509_EXTENSION_free(extension);
    }
    EXPECT_GT(X509_sign(made.get(), key_.get(), EVP_sha256()), 0);
    return made;
  }

  template <typename Writer>
  void Write(const std::string& path, Writer write) {
    const std::string part = path + ".part";
    FILE* const file = std::fopen(part.c_str(), "w");
    ASSERT_NE(file, nullptr);
    write(file);
    std::fclose(file);
    std::filesystem::rename(part, path);
  }

  std::string folder_;
  std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key_;
  CertificatePtr certificate_;
  long serial_ = 0;
};

}  // namespace millrace
