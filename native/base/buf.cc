#include "base/buf.h"

namespace moonphase {

off_t chain_size(const Chain* c) {
  off_t n = 0;
  for (; c; c = c->next) n += c->buf->size();
  return n;
}

void chain_add_copy(Arena& a, Chain** chain, const Chain* in) {
  while (*chain) chain = &(*chain)->next;
  for (; in; in = in->next) {
    *chain = make_chain(a, in->buf);
    chain = &(*chain)->next;
  }
}

}  // namespace moonphase
