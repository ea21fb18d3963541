#include "net/tls_files.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "net/tls.h"

namespace moonphase::net {

namespace {

struct BioDeleter {
  void operator()(BIO* b) const { BIO_free(b); }
};
using BioPtr = std::unique_ptr<BIO, BioDeleter>;

BioPtr open_source(const std::string& source, const char** why) {
  if (source.starts_with("data:")) {
    BioPtr bio(BIO_new_mem_buf(source.data() + 5, static_cast<int>(source.size() - 5)));
    if (!bio) *why = "BIO_new_mem_buf() failed";
    return bio;
  }
  BioPtr bio(BIO_new_file(source.c_str(), "r"));
  if (!bio) *why = "BIO_new_file() failed";
  return bio;
}

// The end of a PEM file looks like an error.
bool at_end() {
  const unsigned long n = ERR_peek_last_error();
  if (ERR_GET_LIB(n) != ERR_LIB_PEM || ERR_GET_REASON(n) != PEM_R_NO_START_LINE) return false;
  ERR_clear_error();
  return true;
}

struct PasswordTry {
  const std::string* password;
  bool asked;
};

int give_password(char* buf, int size, int, void* data) {
  auto* one = static_cast<PasswordTry*>(data);
  one->asked = true;
  if (!one->password) return 0;
  const auto n = static_cast<int>(one->password->size());
  if (n > size) return 0;
  std::memcpy(buf, one->password->data(), static_cast<size_t>(n));
  return n;
}

}  // namespace

TlsPasswords::~TlsPasswords() {
  for (std::string& one : list) OPENSSL_cleanse(one.data(), one.size());
}

bool TlsPasswords::read(const std::string& path, std::string* error) {
  FILE* file = std::fopen(path.c_str(), "re");
  if (!file) {
    *error = "open() \"" + path + "\" failed (" + std::to_string(errno) + ": " +
             std::strerror(errno) + ")";
    return false;
  }
  char line[4096];
  while (std::fgets(line, sizeof line, file)) {
    size_t n = std::strlen(line);
    while (n && (line[n - 1] == '\n' || line[n - 1] == '\r')) --n;
    if (n) list.emplace_back(line, n);
  }
  OPENSSL_cleanse(line, sizeof line);
  std::fclose(file);
  return true;
}

X509Chain load_certificates(const std::string& source, const char** why) {
  *why = nullptr;
  BioPtr bio = open_source(source, why);
  if (!bio) return nullptr;
  X509Chain chain(sk_X509_new_null());
  for (;;) {
    X509* x = PEM_read_bio_X509_AUX(bio.get(), nullptr, nullptr, nullptr);
    if (!x) break;
    sk_X509_push(chain.get(), x);
  }
  if (sk_X509_num(chain.get()) == 0) {
    *why = "PEM_read_bio_X509_AUX() failed";
    return nullptr;
  }
  if (!at_end() && ERR_peek_last_error()) {
    *why = "PEM_read_bio_X509() failed";
    return nullptr;
  }
  return chain;
}

KeyPtr load_key(const std::string& source, TlsPasswords* passwords, const char** why) {
  *why = nullptr;
  if (source.starts_with("engine:")) {
    *why = "loading \"engine:...\" certificate keys is not supported";
    return nullptr;
  }
  BioPtr bio = open_source(source, why);
  if (!bio) return nullptr;
  const size_t tries = passwords && !passwords->list.empty() ? passwords->list.size() : 1;
  for (size_t i = 0; i < tries; ++i) {
    PasswordTry one{passwords && i < passwords->list.size() ? &passwords->list[i] : nullptr, false};
    if (i) {
      ERR_clear_error();
      (void)BIO_reset(bio.get());
    }
    if (EVP_PKEY* key = PEM_read_bio_PrivateKey(bio.get(), nullptr, give_password, &one))
      return KeyPtr(key);
    if (!one.asked) break;
  }
  *why = "PEM_read_bio_PrivateKey() failed";
  return nullptr;
}

bool load_crl(X509_STORE* store, const std::string& path, const char** why) {
  *why = nullptr;
  BioPtr bio = open_source(path, why);
  if (!bio) return false;
  int count = 0;
  for (;; ++count) {
    X509_CRL* crl = PEM_read_bio_X509_CRL(bio.get(), nullptr, nullptr, nullptr);
    if (!crl) break;
    const int added = X509_STORE_add_crl(store, crl);
    X509_CRL_free(crl);
    if (added != 1) {
      *why = "X509_STORE_add_crl";
      return false;
    }
  }
  if (count == 0 || (!at_end() && ERR_peek_last_error())) {
    *why = "PEM_read_bio_X509_CRL() failed";
    return false;
  }
  X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return true;
}

bool use_dhparam(SSL_CTX* ctx, const std::string& path, std::string* error) {
  auto fail = [&](const char* function) {
    *error = tls_error_text((std::string(function) + "(\"" + path + "\") failed").c_str());
    return false;
  };
  BioPtr bio(BIO_new_file(path.c_str(), "r"));
  if (!bio) return fail("BIO_new_file");
  EVP_PKEY* params = PEM_read_bio_Parameters(bio.get(), nullptr);
  if (!params) return fail("PEM_read_bio_Parameters");
  if (SSL_CTX_set0_tmp_dh_pkey(ctx, params) != 1) {
    EVP_PKEY_free(params);
    return fail("SSL_CTX_set0_tmp_dh_pkey");
  }
  return true;
}

}  // namespace moonphase::net
