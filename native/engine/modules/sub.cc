#include "engine/modules/sub.h"

#include <algorithm>

#include "engine/lifecycle.h"
#include "engine/runtime.h"
#include "engine/variables/variables.h"
#include "http/gzip.h"
#include "http/output.h"
#include "http/zlib_chain.h"

namespace moonphase::engine {

namespace {

using http::Slot;
using http::ZlibChain;

constexpr int kBuffers = 16;
constexpr size_t kBufferSize = 4096;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; }

struct Pattern {
  Str text;  // lower case
  const Complex* value = nullptr;
  Str replacement;
  bool evaluated = false;
};

// One answer's, in its request's arena. Bytes that may begin a match wait in `held`; `due` is what
// goes out before anything else.
struct SubCtx {
  ZlibChain chain;
  const SubConf* conf = nullptr;
  Pattern* patterns = nullptr;
  size_t count = 0, used = 0;
  bool first[256] = {};  // bytes that a match begins with, in either case
  char *held = nullptr, *released = nullptr;
  size_t held_size = 0;
  Str due;

  void begin_bytes();
  bool spent(const Pattern& p) const { return conf->once && p.evaluated; }
  size_t prefix(const Pattern& p) const;
  void drop(size_t n);
  void run(Request* r, bool ends);
  bool release(Request* r);
};

SubCtx* ctx_of(const Request* r) { return static_cast<SubCtx*>(r->ctx[kModSub]); }

void SubCtx::begin_bytes() {
  std::fill(std::begin(first), std::end(first), false);
  for (size_t i = 0; i < count; ++i) {
    if (spent(patterns[i])) continue;
    const auto c = static_cast<unsigned char>(patterns[i].text[0]);
    first[c] = true;
    if (c >= 'a' && c <= 'z') first[c & ~0x20] = true;
  }
}

// How many bytes of the pattern stand at the front of what is held; 0: something else does.
size_t SubCtx::prefix(const Pattern& p) const {
  const size_t n = std::min(held_size, p.text.size());
  for (size_t i = 0; i < n; ++i)
    if (lower(held[i]) != p.text[i]) return 0;
  return n;
}

void SubCtx::drop(size_t n) {
  held_size -= n;
  std::memmove(held, held + n, held_size);
}

// Decides about what is held: a match, or bytes that are none, become due. False: more must be
// seen.
bool SubCtx::release(Request* r) {
  for (size_t i = 0; i < count; ++i) {
    Pattern& p = patterns[i];
    const size_t n = spent(p) ? 0 : prefix(p);
    if (n == 0) continue;
    if (n < p.text.size()) return false;
    if (!p.evaluated) {
      p.evaluated = true;
      p.replacement = eval(r, *p.value);
      if (conf->once) begin_bytes();
    }
    drop(n);
    due = p.replacement;
    return true;
  }
  released[0] = held[0];
  due = {released, 1};
  drop(1);
  return true;
}

// Moves bytes from the stream's input to its output until one of them is used up; `ends`: with the
// input everything ends.
void SubCtx::run(Request* r, bool ends) {
  z_stream& z = chain.stream;
  const auto put = [&z](const char* from, size_t n) {
    std::memcpy(z.next_out, from, n);
    z.next_out += n;
    z.avail_out -= static_cast<uInt>(n);
  };
  while (z.avail_out) {
    if (!due.empty()) {
      const size_t n = std::min<size_t>(due.size(), z.avail_out);
      put(due.data(), n);
      due.remove_prefix(n);
    } else if (held_size && release(r)) {
      continue;
    } else if (z.avail_in && held_size) {
      held[held_size++] = static_cast<char>(*z.next_in++);
      --z.avail_in;
    } else if (z.avail_in) {
      const Bytef* end = z.next_in + std::min(z.avail_in, z.avail_out);
      const Bytef* p =
          std::find_if(z.next_in, const_cast<Bytef*>(end), [&](Bytef c) { return first[c]; });
      const auto n = static_cast<size_t>(p - z.next_in);
      put(reinterpret_cast<const char*>(z.next_in), n);
      z.next_in += n;
      z.avail_in -= static_cast<uInt>(n);
      if (p == end) continue;
      held[held_size++] = static_cast<char>(*z.next_in++);
      --z.avail_in;
    } else if (ends && held_size) {
      std::memcpy(released, held, held_size);
      due = {released, held_size};
      held_size = 0;
    } else {
      return;
    }
  }
}

bool start(Request*, ZlibChain* z) {
  z->started = true;
  return true;
}

void end_stream(void*) {}

int substitute(Request* r, ZlibChain* z) {
  const bool ends = z->flush == Z_FINISH;
  ctx_of(r)->run(r, ends);
  z->advance();
  Buf* b = z->out_buf;
  if (z->stream.avail_out == 0) {  // there may be more to come
    z->put_out(r, b);
    z->redo = true;
    return kAgain;
  }
  z->redo = false;
  if (z->flush == Z_SYNC_FLUSH) {
    z->put_flushed(r);
    return kOk;
  }
  if (ends) {
    if (b->size() == 0) b->temporary = false;
    b->last_buf = r->is_main();
    b->last_in_chain = true;
    b->sync = true;
    z->put_out(r, b);
    z->stream.avail_in = z->stream.avail_out = 0;
    z->done = true;
    return kOk;
  }
  return z->end_step(r);
}

constexpr ZlibChain::Kind kSub{Slot::kSub, "sub", true, start, substitute, end_stream};

// False: there is nothing to look for.
bool make_patterns(Request* r, SubCtx* ctx) {
  size_t longest = 0;
  ctx->patterns = r->pool->array<Pattern>(ctx->conf->pairs.size());
  for (const SubConf::Pair& pair : ctx->conf->pairs) {
    const Str text = eval(r, pair.match);
    if (text.empty()) continue;
    char* copy = r->pool->bytes(text.size());
    std::transform(text.begin(), text.end(), copy, lower);
    Pattern& p = ctx->patterns[ctx->count++];
    p.text = {copy, text.size()};
    p.value = &pair.value;
    longest = std::max(longest, text.size());
  }
  if (!longest) return false;
  ctx->held = r->pool->bytes(longest + 1);
  ctx->released = r->pool->bytes(longest + 1);
  ctx->begin_bytes();
  return true;
}

int header_filter(Request* r) {
  const auto* conf = static_cast<const SubConf*>(loc(r)->module[kModSub].get());
  const auto next = [r] { return http::next_header(r, Slot::kSub); };
  if (!conf || r->headers_out.content_length_n == 0 ||
      (!conf->any_type && !http::has_type(r, conf->types)))
    return next();
  auto* ctx = new (r->pool->alloc(sizeof(SubCtx))) SubCtx;
  ctx->conf = conf;
  if (!make_patterns(r, ctx)) return next();
  r->ctx[kModSub] = ctx;
  r->filters |= slot_bit(Slot::kSub);
  r->filter_need_in_memory = true;
  if (r->is_main()) {
    http::clear_content_length(r);
    if (conf->last_modified) {
      http::weak_etag(r);
    } else {
      http::clear_last_modified(r);
      http::clear_etag(r);
    }
  }
  return next();
}

int body_filter(Request* r, Chain* in) {
  SubCtx* ctx = ctx_of(r);
  if (!ctx || ctx->chain.done) return http::next_body(r, Slot::kSub, in);
  return ctx->chain.filter(r, kSub, kBuffers, kBufferSize, in);
}

}  // namespace

void register_sub() { http::filters().add(Slot::kSub, header_filter, body_filter); }

}  // namespace moonphase::engine
