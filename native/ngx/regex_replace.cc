// ngx.re.sub and gsub: replacement templates.
#include <algorithm>
#include <string>
#include <vector>

#include "ngx/log.h"
#include "ngx/regex.h"

namespace moonphase::ngx {

struct ReplaceTemplate {
  struct Part {
    int capture;  // -1: text
    std::string text;
  };
  std::vector<Part> parts;
};

void free_template(ReplaceTemplate* t) { delete t; }

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

int complain(const char* before, Str what, const char* after) {
  const Log& log = log_for(nullptr);
  if (log.enabled(kLogErr)) {
    log_write(log, nullptr, kLogErr, 0, "%s\"%.*s\"%s", before, STR(what), after);
  }
  return kError;
}

class Parser {
 public:
  Parser(Str source, ReplaceTemplate* out) : source_(source), out_(out) {}

  int run() {
    while (at_ < source_.size()) {
      if (source_[at_] != '$') {
        size_t end = std::min(source_.find('$', at_), source_.size());
        add_text(source_.substr(at_, end - at_));
        at_ = end;
        continue;
      }
      ++at_;
      if (at_ < source_.size() && source_[at_] == '$') {
        add_text("$");
        ++at_;
      } else if (int rc = variable(); rc != kOk) {
        return rc;
      }
    }
    return kOk;
  }

 private:
  void add_text(Str text) { out_->parts.push_back({-1, std::string(text)}); }

  int invalid() const {
    return complain("lua script: invalid capturing variable name found in ", source_, "");
  }

  // Behind a '$': digits, or the same in braces.
  int variable() {
    bool braces = at_ < source_.size() && source_[at_] == '{';
    if (braces) ++at_;
    if (at_ >= source_.size()) return invalid();
    size_t start = at_;
    bool number = is_digit(source_[at_]);
    while (at_ < source_.size() && (number ? is_digit(source_[at_]) : is_word(source_[at_]))) ++at_;
    Str name = source_.substr(start, at_ - start);
    if (braces) {
      if (at_ >= source_.size() || source_[at_] != '}') {
        return complain("the closing bracket in ", name, " variable is missing");
      }
      ++at_;
    }
    if (name.empty()) return invalid();
    if (!number) {
      return complain("attempt to use named capturing variable ", name,
                      " (named captures not supported yet)");
    }
    int n = 0;
    for (char c : name) n = n < kMaxGroup ? n * 10 + (c - '0') : kMaxGroup;
    out_->parts.push_back({n, {}});
    return kOk;
  }

  static constexpr int kMaxGroup = 1 << 20;  // more than PCRE2 has
  Str source_;
  ReplaceTemplate* out_;
  size_t at_ = 0;
};

}  // namespace

}  // namespace moonphase::ngx

using namespace moonphase;
using namespace moonphase::ngx;

// ngx_http_lua_script_engine_t: the match that a template is filled in from.
struct NgxScriptEngine {
  const char* subject;
  const int* captures;
  int groups;

  Str text(const ReplaceTemplate::Part& part) const {
    if (part.capture < 0) return part.text;
    if (part.capture >= groups) return {};
    int from = captures[2 * part.capture], to = captures[2 * part.capture + 1];
    return from < 0 ? Str() : Str(subject + from, static_cast<size_t>(to - from));
  }
};

MOONPHASE_FFI int ngx_http_lua_ffi_compile_replace_template(NgxRegex* re,
                                                            const unsigned char* replace_data,
                                                            size_t replace_len) {
  auto* owner = static_cast<RegexOwner*>(re->pool);
  free_template(owner->compiled);
  owner->compiled = nullptr;
  delete[] owner->text;
  owner->text = new char[replace_len + 1];
  std::memcpy(owner->text, replace_data, replace_len);
  owner->text[replace_len] = 0;
  Str source{owner->text, replace_len};
  owner->replacement = {{replace_len, mutable_bytes(source)}, nullptr, nullptr};
  re->replace = &owner->replacement;
  if (source.find('$') == Str::npos) return kOk;

  owner->compiled = new ReplaceTemplate;
  int rc = Parser(source, owner->compiled).run();
  if (rc == kOk) owner->replacement.lengths = owner->replacement.values = owner->compiled;
  return rc;
}

MOONPHASE_FFI NgxScriptEngine* ngx_http_lua_ffi_create_script_engine(void) {
  return new NgxScriptEngine{};
}

MOONPHASE_FFI void ngx_http_lua_ffi_init_script_engine(NgxScriptEngine* e,
                                                       const unsigned char* subj,
                                                       NgxRegex* compiled, int count) {
  *e = {reinterpret_cast<const char*>(subj), compiled->captures, count};
}

MOONPHASE_FFI void ngx_http_lua_ffi_destroy_script_engine(NgxScriptEngine* e) { delete e; }

MOONPHASE_FFI size_t ngx_http_lua_ffi_script_eval_len(NgxScriptEngine* e, NgxReplacement* cv) {
  size_t n = 0;
  for (const auto& part : static_cast<ReplaceTemplate*>(cv->lengths)->parts)
    n += e->text(part).size();
  return n;
}

MOONPHASE_FFI size_t ngx_http_lua_ffi_script_eval_data(NgxScriptEngine* e, NgxReplacement* cv,
                                                       unsigned char* dst) {
  unsigned char* p = dst;
  for (const auto& part : static_cast<ReplaceTemplate*>(cv->values)->parts) {
    Str text = e->text(part);
    p = std::copy(text.begin(), text.end(), p);
  }
  return static_cast<size_t>(p - dst);
}
