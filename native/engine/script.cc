// Evaluation of complex values, and regular expressions of the configuration run on a request.
#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/uri.h"

namespace moonphase::engine {

Str capture(const Request* r, int n) {
  if (2 * n >= r->ncaptures) return {};
  int from = r->captures[2 * n], to = r->captures[2 * n + 1];
  if (from < 0) return {};
  return r->captures_data.substr(static_cast<size_t>(from), static_cast<size_t>(to - from));
}

namespace {

Str part_text(Request* r, const Complex::Part& part, bool quote) {
  switch (part.kind) {
    case Complex::Part::kText:
      return part.text;
    case Complex::Part::kVar:
      return value_of(get_flushed(r, part.index));
    case Complex::Part::kCapture: {
      Str s = capture(r, part.index);
      if (quote && (r->quoted_uri || r->plus_in_uri))
        return http::escape(*r->pool, s, http::Escape::kArgs);
      return s;
    }
  }
  return {};
}

Str eval_parts(Request* r, const Complex& value, bool quote) {
  const size_t n = value.parts.size();
  if (n == 1) return part_text(r, value.parts[0], quote);
  Str few[16];
  Str* texts = n <= 16 ? few : r->pool->array<Str>(n);
  size_t size = 0;
  for (size_t i = 0; i < n; ++i) {
    texts[i] = part_text(r, value.parts[i], quote);
    size += texts[i].size();
  }
  char* start = r->pool->bytes(size);
  char* p = start;
  for (size_t i = 0; i < n; ++i) {
    if (texts[i].size()) std::memcpy(p, texts[i].data(), texts[i].size());
    p += texts[i].size();
  }
  return {start, size};
}

}  // namespace

Str eval(Request* r, const Complex& value) {
  return value.literal() ? Str(value.text) : eval_parts(r, value, false);
}

Str eval_quoted(Request* r, const Complex& value) {
  return value.literal() ? Str(value.text) : eval_parts(r, value, true);
}

bool is_true(Request* r, const Complex& value) {
  Str s = eval(r, value);
  return !s.empty() && s != "0";
}

int match_regex(Request* r, const Regex& regex, Str subject) {
  int size = 0;
  if (regex.group_count()) {
    size = plan(r).max_captures;
    if (r->captures == nullptr) {
      r->ncaptures = 0;
      r->captures = static_cast<int*>(r->pool->alloc(sizeof(int) * static_cast<size_t>(size)));
    }
  }
  int rc = regex.match(subject, r->captures, size);
  if (rc == Regex::kNoMatch) return kDeclined;
  if (rc < 0) {
    MOONPHASE_LOG(r, kLogAlert, 0, "pcre2_match() failed: %d on \"%.*s\" using \"%s\"", rc,
                  STR(subject), regex.pattern.c_str());
    return kError;
  }
  for (const Regex::Named& named : regex.named) {
    if (named.variable < 0) continue;
    VarValue& v = r->variables[named.variable];
    int from = named.group < rc ? r->captures[2 * named.group] : -1;
    int to = from < 0 ? -1 : r->captures[2 * named.group + 1];
    found(&v, from < 0 ? Str("")
                       : subject.substr(static_cast<size_t>(from), static_cast<size_t>(to - from)));
  }
  if (regex.group_count() == 0) {
    r->ncaptures = 0;
    return kOk;
  }
  r->ncaptures = rc * 2;
  r->captures_data = subject;
  return kOk;
}

}  // namespace moonphase::engine
