#include "engine/modules/charset.h"

#include <strings.h>

#include <algorithm>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/gzip.h"
#include "http/output.h"

namespace moonphase::engine {

namespace {

using http::HeadersOut;

bool same(Str a, Str b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool is_known(const CharsetConf& conf, Str name) {
  for (const std::string& one : *conf.known)
    if (same(one, name)) return true;
  return false;
}

// kOk, kDeclined (off) or kError (the variable has no value).
int evaluate(Request* r, const CharsetConf::Name& from, Str* name) {
  if (from.kind == CharsetConf::Name::kOff) return kDeclined;
  if (from.kind == CharsetConf::Name::kText) {
    *name = from.text;
    return kOk;
  }
  VarValue* v = get_indexed(r, from.var);
  if (!v || v->not_found) return kError;
  *name = v->data;
  return kOk;
}

// What the answer should be in; kDeclined: whatever it is.
int wanted(Request* r, const CharsetConf& conf, Str* name) {
  const HeadersOut& out = r->headers_out;
  if (!r->is_main()) {
    *name = r->main->headers_out.charset;
    return name->empty() ? kDeclined : kOk;
  }
  if (out.content_type.empty()) return kDeclined;
  if (!out.override_charset.empty()) {
    *name = out.override_charset;
    if (is_known(conf, *name)) return kOk;
    MOONPHASE_LOG(r, kLogErr, 0, "unknown charset \"%.*s\" to override", STR(*name));
    return kDeclined;
  }
  if (conf.charset.kind == CharsetConf::Name::kOff) return kDeclined;
  if (!out.charset.empty() ? !conf.override : !conf.any_type && !http::has_type(r, conf.types))
    return kDeclined;
  return evaluate(r, conf.charset, name);
}

void set_charset(Request* r, Str name) {
  if (!r->is_main()) return;
  bool redirect = r->headers_out.status == 301 || r->headers_out.status == 302;
  r->headers_out.charset = redirect ? Str() : name;
}

int header_filter(Request* r) {
  auto* conf = static_cast<const CharsetConf*>(loc(r)->module[kModCharset].get());
  auto next = [r] { return http::next_header(r, http::Slot::kCharset); };
  if (!conf) return next();
  Str to, from;
  int rc = wanted(r, *conf, &to);
  if (rc == kError) return rc;
  if (rc == kDeclined) return next();

  HeadersOut& out = r->headers_out;
  from = out.charset;
  if (from.empty() && (rc = evaluate(r, conf->source, &from)) == kError) return rc;
  MOONPHASE_LOG(r, kLogDebug, 0, "charset: \"%.*s\" > \"%.*s\"", STR(from), STR(to));
  if (rc == kDeclined) {
    set_charset(r, to);
    return next();
  }
  bool known_from = is_known(*conf, from), known_to = is_known(*conf, to);
  if (same(from, to)) {
    if (known_from) out.content_type = out.content_type.substr(0, out.content_type_len);
    set_charset(r, to);
    return next();
  }
  bool encoded = out.content_encoding && !out.content_encoding->value.empty();
  if (!known_from || !known_to || !encoded) {
    MOONPHASE_LOG(r, kLogErr, 0, "no \"charset_map\" between the charsets \"%.*s\" and \"%.*s\"",
                  STR(from), STR(to));
  }
  return next();
}

}  // namespace

void seal_charset(Plan& plan) {
  auto known = std::make_shared<std::vector<std::string>>();
  auto each = [&](auto&& fn) {
    for (const auto& conf : plan.confs)
      if (auto* one = static_cast<CharsetConf*>(conf->module[kModCharset].get())) fn(*conf, *one);
  };
  each([&](LocConf&, CharsetConf& conf) {
    for (const CharsetConf::Name* name : {&conf.charset, &conf.source}) {
      if (name->kind == CharsetConf::Name::kText &&
          std::find(known->begin(), known->end(), name->text) == known->end())
        known->push_back(name->text);
    }
  });
  each([&](LocConf& loc, CharsetConf& conf) {
    conf.known = known;
    bool used = !known->empty() || conf.charset.kind == CharsetConf::Name::kVar;
    if (!used) loc.module[kModCharset].reset();
  });
}

void register_charset() { http::filters().add(http::Slot::kCharset, header_filter, nullptr); }

}  // namespace moonphase::engine
