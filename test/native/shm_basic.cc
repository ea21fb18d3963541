// Results and texts, operation by operation, and the sizes that the suites of OpenResty look at.
#include "shm_test.h"

using namespace shm_test;

namespace {
constexpr int64_t kNow = 1'700'000'000'000;
}

SHM_TEST(basic_values) {
  ZoneHandle d(900 * 1024);
  CHECK_EQ(get(*d, "foo", kNow), "nil");
  CHECK_EQ(show(d->store(kSet, "foo", number(32), 0, 0, kNow)), "0 -");
  CHECK_EQ(get(*d, "foo", kNow), "32");
  CHECK_EQ(show(d->store(kSet, "bar", number(10.5), 0, 7, kNow)), "0 -");
  CHECK_EQ(get(*d, "bar", kNow), "10.5 flags=7");
  d->store(kSet, "t", boolean(true), 0, 0, kNow);
  d->store(kSet, "f", boolean(false), 0, 0, kNow);
  CHECK_EQ(get(*d, "t", kNow), "true");
  CHECK_EQ(get(*d, "f", kNow), "false");
  d->store(kSet, "s", string("hello"), 0, 0, kNow);
  CHECK_EQ(get(*d, "s", kNow), "'hello'");
  d->store(kSet, "s", string(""), 0, 0, kNow);
  CHECK_EQ(get(*d, "s", kNow), "''");
  std::string big(100'000, 'x');
  d->store(kSet, "s", string(big), 0, 0, kNow);
  CHECK_EQ(get(*d, "s", kNow), "'" + big + "'");
  std::string other(100'000, 'y');
  d->store(kSet, "s", string(other), 0, 0, kNow);
  CHECK_EQ(get(*d, "s", kNow), "'" + other + "'");
  d->store(kSet, "s", nil(), 0, 0, kNow);
  CHECK_EQ(get(*d, "s", kNow), "nil");
  CHECK_EQ(show(d->store(kAdd, "s", nil(), 0, 0, kNow)), "-1 attempt to add or replace nil values");
  CHECK_EQ(show(d->store(kSet, "s", {.type = Type::kList, .number = 0, .bytes = {}}, 0, 0, kNow)),
           "-1 unsupported value type");
  std::string longest(65535, 'k');
  CHECK_EQ(show(d->store(kSet, longest, number(1), 0, 0, kNow)), "0 -");
  CHECK_EQ(get(*d, longest, kNow), "1");
  CHECK_EQ(show(d->store(kSet, longest + "k", number(1), 0, 0, kNow)), "-1 key too long");
  CHECK_EQ(show(d->incr(longest + "k", 1, true, 0, 0, kNow)), "-1 key too long");
  CHECK(d->check() == nullptr);
}

SHM_TEST(basic_modes) {
  ZoneHandle d(900 * 1024);
  CHECK_EQ(show(d->store(kReplace, "a", number(1), 0, 0, kNow)), "-5 not found");
  CHECK_EQ(show(d->store(kAdd, "a", number(1), 100, 0, kNow)), "0 -");
  CHECK_EQ(show(d->store(kAdd, "a", number(2), 0, 0, kNow)), "-5 exists");
  CHECK_EQ(show(d->store(kAdd | kSafe, "a", number(2), 0, 0, kNow + 99)), "-5 exists");
  CHECK_EQ(get_stale(*d, "a", kNow + 100), "1 stale");
  CHECK_EQ(show(d->store(kReplace, "a", number(3), 0, 0, kNow + 100)), "-5 not found");
  CHECK_EQ(show(d->store(kAdd, "a", string("long enough"), 0, 0, kNow + 100)), "0 -");
  CHECK_EQ(show(d->store(kReplace, "a", number(3), 0, 0, kNow + 100)), "0 -");
  CHECK_EQ(get(*d, "a", kNow + 100), "3");
  CHECK(d->check() == nullptr);
}

SHM_TEST(basic_expiry) {
  ZoneHandle d(900 * 1024);
  int64_t ttl = 0;
  d->store(kSet, "a", number(1), 50, 0, kNow);
  CHECK(d->ttl("a", kNow + 20, &ttl) == kOk && ttl == 30);
  CHECK(d->ttl("a", kNow + 70, &ttl) == kOk && ttl == -20);
  CHECK(d->set_expire("a", 1000, kNow) == kOk);
  CHECK(d->ttl("a", kNow, &ttl) == kOk && ttl == 1000);
  CHECK(d->set_expire("a", 0, kNow) == kOk);
  CHECK(d->ttl("a", kNow, &ttl) == kOk && ttl == 0);
  CHECK(d->ttl("b", kNow, &ttl) == kDeclined && d->set_expire("b", 1, kNow) == kDeclined);
  d->store(kSet, "b", number(1), 10, 0, kNow);
  d->store(kSet, "c", number(1), 10, 0, kNow);
  CHECK_EQ(keys(*d, 0, kNow), "a,b,c,");
  CHECK_EQ(keys(*d, 2, kNow), "a,b,");
  CHECK_EQ(keys(*d, 0, kNow + 10), "a,");
  CHECK(d->flush_expired(1, kNow + 10) == 1 && d->flush_expired(0, kNow + 10) == 1);
  CHECK_EQ(get(*d, "a", kNow + 10), "1");
  d->store(kSet, "b", number(1), 0, 0, kNow);
  for (int i = 0; i < 5; i++)
    d->store(kSet, std::string(1, static_cast<char>('m' + i)), number(i), 0, 0, kNow);
  d->flush_all(kNow);
  CHECK_EQ(keys(*d, 0, kNow), "");
  CHECK_EQ(get_stale(*d, "a", kNow), "nil");
  CHECK_EQ(get_stale(*d, "q", kNow), "4 stale");
  CHECK(d->flush_expired(0, kNow) == 4 && d->entries() == 0);
  CHECK(d->check() == nullptr);
}

SHM_TEST(basic_incr) {
  ZoneHandle d(900 * 1024);
  CHECK_EQ(show(d->incr("n", 1, false, 0, 0, kNow)), "-1 not found");
  CHECK_EQ(show(d->incr("n", 10502, true, 1, 0, kNow)), "0 10503");
  CHECK_EQ(show(d->incr("n", -0.5, true, 1, 0, kNow)), "0 10502.5");
  d->store(kSet, "s", string("12345678"), 0, 9, kNow);
  CHECK_EQ(show(d->incr("s", 1, true, 0, 0, kNow)), "-1 not a number");
  d->set_expire("s", 1, kNow - 1);
  CHECK_EQ(show(d->incr("s", 1, true, 5, 30, kNow)), "0 6");
  CHECK_EQ(get(*d, "s", kNow), "6");
  CHECK_EQ(get(*d, "s", kNow + 30), "nil");
  d->push("l", End::kLeft, number(1), kNow);
  CHECK_EQ(show(d->incr("l", 1, true, 5, 0, kNow)), "-1 not a number");
  CHECK_EQ(get(*d, "l", kNow), "(-1 value is a list) ");
  CHECK(d->check() == nullptr);
}

SHM_TEST(basic_lists) {
  ZoneHandle d(100 * 1024);
  CHECK_EQ(show(d->push("l", End::kLeft, string("b"), kNow)), "0 1");
  CHECK_EQ(show(d->push("l", End::kLeft, string("a"), kNow)), "0 2");
  CHECK_EQ(show(d->push("l", End::kRight, number(3), kNow)), "0 3");
  CHECK_EQ(show(d->llen("l", kNow)), "0 3");
  CHECK_EQ(show(d->llen("none", kNow)), "0 0");
  CHECK_EQ(show(d->push("l", End::kRight, boolean(true), kNow)), "-1 bad value type");
  CHECK_EQ(pop(*d, "l", End::kLeft, kNow), "'a'");
  CHECK_EQ(pop(*d, "l", End::kRight, kNow), "3");
  CHECK_EQ(pop(*d, "l", End::kRight, kNow), "'b'");
  CHECK_EQ(pop(*d, "l", End::kRight, kNow), "nil");
  d->store(kSet, "n", number(1), 0, 0, kNow);
  CHECK_EQ(show(d->push("n", End::kLeft, number(1), kNow)), "-1 value not a list");
  CHECK_EQ(pop(*d, "n", End::kLeft, kNow), "(-1 value not a list) ");
  CHECK_EQ(show(d->llen("n", kNow)), "-1 value not a list");
  for (int i = 0; i < 1000; i++) d->push("l", End::kLeft, number(i), kNow);
  d->set_expire("l", 10, kNow);
  CHECK_EQ(show(d->llen("l", kNow + 10)), "0 0");
  CHECK_EQ(show(d->push("l", End::kLeft, string("x"), kNow + 10)), "0 1");
  for (int i = 0; i < 1000; i++) d->push("l", End::kLeft, number(i), kNow);
  CHECK_EQ(show(d->store(kSet, "l", number(5), 0, 0, kNow)), "0 -");
  CHECK_EQ(get(*d, "l", kNow), "5");
  CHECK(d->check() == nullptr);
}

SHM_TEST(basic_nginx_sizes) {
  {
    ZoneHandle cats(16384, "cats");
    CHECK(cats->capacity() == 16384);
    CHECK(cats->free_space() == 4096);
    char key[32], val[32];
    for (int i = 1; i <= 64; i++) {
      std::snprintf(key, sizeof key, "key%05d", i);
      std::snprintf(val, sizeof val, "val%05d", i);
      StoreResult r = cats->store(kSet, key, string(val), 0, 0, kNow);
      CHECK(r.rc == kOk && r.forcible == (i == 64));
      if (i == 31) CHECK(cats->free_space() == 4096);
      if (i == 32) CHECK(cats->free_space() == 0);
    }
    CHECK_EQ(show(cats->store(kSet | kSafe, "new", string("val"), 0, 0, kNow)), "-1 no memory");
    CHECK_EQ(show(cats->store(kSet, "new", string(std::string(20000, 'x')), 0, 0, kNow)),
             "-1 no memory forcible");
    CHECK(cats->entries() == 33);
  }
  ZoneHandle birds(100 * 1024, "birds");
  CHECK(birds->free_space() == 22 * 4096 || birds->free_space() == 23 * 4096);
}

SHM_TEST(basic_fragments) {
  // Two pages remain of 20k; single pages that neighbour each other join in both orders.
  for (bool backward : {false, true}) {
    ZoneHandle d(20 * 1024);
    CHECK(d->free_space() == 8192);
    d->store(kSet, "foo", string(std::string(4000, 'a')), 0, 0, kNow);
    d->store(kSet, "bar", string(std::string(4001 - 8 + 0, 'b')), 0, 0, kNow);
    CHECK(d->free_space() == 0);
    d->store(kSet, backward ? "bar" : "foo", nil(), 0, 0, kNow);
    CHECK(d->free_space() == 4096);
    CHECK_EQ(show(d->store(kSet | kSafe, "baz", string(std::string(8102, 'c')), 0, 0, kNow)),
             "-1 no memory");
    CHECK_EQ(show(d->store(kSet, "baz", string(std::string(8102, 'c')), 0, 0, kNow)),
             "0 - forcible");
    CHECK(d->check() == nullptr);
  }
}
