// Which bytes JavaScript can have as text.
#pragma once

#include <cstddef>

namespace moonphase::bind {

bool is_ascii(const char* s, size_t n);
// Well-formed: no surrogates, no overlong forms.
bool is_utf8(const char* s, size_t n);

}  // namespace moonphase::bind
